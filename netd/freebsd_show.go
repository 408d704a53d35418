package netd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Show reads a network from the kernel.
func (d *freebsd) Show(ctx context.Context, name string) (View, error) {
	d.mu.RLock()
	n, ok := d.nets[name]
	d.mu.RUnlock()
	if !ok {
		return View{}, fmt.Errorf("network %q is not set on this host", name)
	}
	v := View{Network: name, Bridge: bridgeName(n.ID)}
	br, ok, err := d.look(ctx, "", v.Bridge)
	if err != nil {
		return v, fmt.Errorf("show network %s: %w", name, err)
	}
	if !ok {
		return v, fmt.Errorf("show network %s: bridge %s is gone: apply the network again", name, v.Bridge)
	}
	v.Up, v.MTU, v.Host = br.Up, br.MTU, plainAddrs(br)
	slices.Sort(br.Members)
	for _, member := range br.Members {
		x, ok, err := d.look(ctx, "", member)
		if err != nil {
			return v, fmt.Errorf("show network %s: %w", name, err)
		}
		m, ours := d.ours(x)
		switch {
		case !ok: // it went meanwhile
		case !ours:
			v.Foreign = append(v.Foreign, member)
		case idPattern.MatchString(m.Jail):
			v.Ports = append(v.Ports, d.showPort(ctx, x, m))
		}
	}
	if err := d.showRouter(ctx, n.ID, &v); err != nil {
		return v, fmt.Errorf("show network %s: router: %w", name, err)
	}
	return v, nil
}

// showPort reads one jail's interface; what cannot be read, since the jail is going away, stays empty.
func (d *freebsd) showPort(ctx context.Context, x iface, m mark) PortView {
	p := PortView{Jail: m.Jail, Link: x.Name, Pinned: valid(m.Addr, m.Addr6), Up: x.Up}
	p.NIC, _ = strconv.Atoi(x.Name[len(x.Name)-1:])
	if in, ok, err := d.look(ctx, d.jailHolder(m.Jail), insideName(m.Jail, p.NIC)); err == nil && ok {
		p.MAC, p.Addrs = in.Ether, plainAddrs(in)
	}
	return p
}

func (d *freebsd) showRouter(ctx context.Context, id string, v *View) error {
	holder := d.routerHolder(id)
	for _, nic := range []string{lanName(id), outName(id)} {
		x, ok, err := d.look(ctx, holder, nic)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("interface %s is gone: apply the network again", nic)
		}
		if addrs := plainAddrs(x); nic == lanName(id) {
			v.Router = addrs
		} else if len(addrs) > 0 {
			v.Uplink = addrs[0]
		}
	}
	var rules strings.Builder
	for _, what := range []string{"-sn", "-sr"} {
		out, err := d.pfctl(ctx, pfTarget{holder: holder}, "", "-P", what)
		if err != nil && !noPF(err) {
			return fmt.Errorf("read rules: %w", err)
		}
		rules.WriteString(out)
	}
	v.Rules = rules.String()
	return nil
}

// plainAddrs lists the addresses of an interface, without link-local IPv6, IPv4 first.
func plainAddrs(x iface) []netip.Addr {
	var out []netip.Addr
	for _, p := range x.Addrs {
		if p.Addr().Is4() || !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p.Addr())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// Drain does nothing: pf keeps the states of connections to members that left until they end.
func (d *freebsd) Drain(ctx context.Context, _ time.Time) (time.Duration, error) { return 0, ctx.Err() }

// Rules are not told in words here.
func (d *freebsd) Rules(network string) ([]Rule, error) {
	ns, err := d.RouterNS(network)
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("network %s: rules are told in words on Linux only: look at `jexec %s pfctl -s rules`", network, ns)
}
