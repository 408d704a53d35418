package netd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Show reads a network from the kernel.
func (d *linux) Show(ctx context.Context, name string) (View, error) {
	d.mu.RLock()
	n, ok := d.nets[name]
	d.mu.RUnlock()
	if !ok {
		return View{}, fmt.Errorf("network %q is not set on this host", name)
	}
	l, err := d.scan()
	if err != nil {
		return View{}, fmt.Errorf("show network %s: %w", name, err)
	}
	v := View{Network: name, Bridge: bridgeName(n.ID)}
	br := l.byName[v.Bridge]
	if br == nil {
		return v, fmt.Errorf("show network %s: bridge %s is gone: apply the network again", name, v.Bridge)
	}
	v.Up, v.MTU = br.Attrs().Flags&net.FlagUp != 0, br.Attrs().MTU
	if v.Host, err = addrsOf(d.host, br); err != nil {
		return v, fmt.Errorf("show network %s: %w", name, err)
	}
	for index, x := range l.byIndex {
		if x.Attrs().MasterIndex != br.Attrs().Index {
			continue
		}
		m := l.marks[index]
		switch {
		case m.Instance != d.o.Instance:
			v.Foreign = append(v.Foreign, x.Attrs().Name)
		case idPattern.MatchString(m.Jail):
			v.Ports = append(v.Ports, d.showPort(x, m))
		}
	}
	slices.Sort(v.Foreign)
	slices.SortFunc(v.Ports, func(a, b PortView) int { return strings.Compare(a.Link, b.Link) })
	if err := d.showRouter(ctx, n.ID, &v); err != nil {
		return v, fmt.Errorf("show network %s: router: %w", name, err)
	}
	return v, nil
}

// showPort reads one jail's interface; what cannot be read, since the jail is going away, stays empty.
func (d *linux) showPort(x netlink.Link, m mark) PortView {
	link := x.Attrs().Name
	p := PortView{Jail: m.Jail, Link: link, Pinned: valid(m.Addr, m.Addr6), Up: x.Attrs().OperState == netlink.OperUp}
	p.NIC, _ = strconv.Atoi(link[len(link)-1:])
	ns, err := openNS(d.jailPath(m.Jail))
	if err != nil {
		return p
	}
	defer ns.close()
	h, err := ns.inside()
	if err != nil {
		return p
	}
	defer h.Close()
	if eth, err := h.LinkByName("eth" + strconv.Itoa(p.NIC)); err == nil {
		copy(p.MAC[:], eth.Attrs().HardwareAddr)
		p.Addrs, _ = addrsOf(h, eth)
	}
	return p
}

func (d *linux) showRouter(ctx context.Context, id string, v *View) error {
	ns, err := openNS(d.routerPath(id))
	if err != nil {
		return err
	}
	defer ns.close()
	h, err := ns.inside()
	if err != nil {
		return err
	}
	defer h.Close()
	for _, nic := range []string{nicLAN, nicUplink} {
		x, err := h.LinkByName(nic)
		if err != nil {
			return fmt.Errorf("find %s: %w", nic, err)
		}
		addrs, err := addrsOf(h, x)
		if err != nil {
			return err
		}
		if nic == nicLAN {
			v.Router = addrs
		} else if len(addrs) > 0 {
			v.Uplink = addrs[0]
		}
	}
	if x, err := h.LinkByName(nicInet); err == nil {
		if v.Inet, err = addrsOf(h, x); err != nil {
			return err
		}
	}
	res, err := d.o.Runner.Run(ctx, run.Cmd{Argv: []string{"nft", "list", "table", "inet", d.table}, NetNS: ns.path})
	v.Rules = string(res.Stdout)
	return err
}

// addrsOf lists the addresses of a link, without link-local IPv6, IPv4 first.
func addrsOf(h *netlink.Handle, x netlink.Link) (out []netip.Addr, err error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(x, unix.AF_UNSPEC) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", x.Attrs().Name, err)
	}
	for _, a := range addrs {
		if p, ok := prefix(a.IPNet); ok && (p.Addr().Is4() || !p.Addr().IsLinkLocalUnicast()) {
			out = append(out, p.Addr())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out, nil
}
