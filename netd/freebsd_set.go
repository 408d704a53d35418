package netd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Set makes the networks exactly those of c. Order: removals first, because they free names, addresses and ports; then the
// host's rules before links, so that no packet ever meets an open path; a router's rules before it forwards.
//
// Nothing of the host's own is changed: neither forwarding nor pf's state nor its rules. What they withhold (NAT,
// published ports for other machines) is logged in words, and the rest works.
func (d *freebsd) Set(ctx context.Context, c Config) (err error) {
	defer d.m.observe("set", time.Now(), &err)
	d.setMu.Lock()
	defer d.setMu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	nets, errs := c.normalize()
	nets, more := withoutVLANs(nets)
	errs = append(errs, more...)
	found, err := d.marked(ctx, notOfJails)
	if err != nil {
		return fmt.Errorf("set networks: %w", err)
	}
	if found, err = d.removeUnwanted(ctx, found, nets); err != nil {
		errs = append(errs, err)
	}
	var plan []plannedNetwork
	var host hostPF
	plan, host, more, err = d.plan(ctx, found, nets)
	errs = append(errs, more...)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("set networks: %w", err))...)
	}
	d.tell(host, plan)
	l, err := d.links(ctx)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("set networks: %w", err))...)
	}
	done := map[string]Network{}
	for _, n := range plan {
		if err := d.ensureNetwork(ctx, l, n, plan, host); err != nil {
			errs = append(errs, &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: %w", n.Name, err)})
			continue
		}
		done[n.Name] = n.Network
	}
	if err := d.ensurePeers(ctx, plan, done); err != nil {
		errs = append(errs, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// What the host answers for was perhaps made by a daemon before this one: the next Reach looks.
	d.nets, d.mesh, d.reached = done, c.Mesh, true
	return errors.Join(errs...)
}

// withoutVLANs takes out the networks that a VLAN is to carry: that is made on Linux only.
func withoutVLANs(nets []Network) (rest []Network, errs []error) {
	for _, n := range nets {
		if n.VLAN != 0 {
			errs = append(errs, &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: vlan %d: not made on FreeBSD yet: use the overlay", n.Name, n.VLAN)})
			continue
		}
		rest = append(rest, n)
	}
	return rest, errs
}

// notOfJails accepts the names of interfaces that belong to networks, and those that a killed predecessor did not rename.
func notOfJails(name string) bool { return len(name) < 2 || name[:2] != prefixJail }

// plan chooses uplinks and published ports, and leaves out networks that cannot be.
func (d *freebsd) plan(ctx context.Context, found []link, nets []Network) ([]plannedNetwork, hostPF, []error, error) {
	v6 := slices.ContainsFunc(nets, func(n Network) bool { return n.Subnet6.IsValid() })
	routes, err := d.routes(ctx, v6)
	if err != nil {
		return nil, hostPF{}, nil, err
	}
	inUse := usedBy(routes, found)
	var errs []error
	var free []Network
	for _, n := range nets {
		if o := overlap(n, inUse); o != nil {
			errs = append(errs, o)
			if !slices.ContainsFunc(found, func(l link) bool { return l.Name == bridgeName(n.ID) }) {
				continue
			} // one that runs already keeps its rules and its jails: the newcomer is the mistake
		}
		free = append(free, n)
	}
	have := map[string]netip.Addr{}
	for _, l := range found {
		for _, p := range l.Addrs {
			if l.mark.Jail == markUplink && p.Addr().Is4() {
				have[l.mark.Network] = p.Addr()
			}
		}
	}
	uplinks, err := planUplinks(d.o.LinkRange, free, have, inUse)
	if err != nil {
		return nil, hostPF{}, errs, err
	}
	published, more := d.publish(ctx, free)
	errs = append(errs, more...)
	host, err := d.readHost(ctx, routes)
	if err != nil {
		return nil, host, errs, err
	}
	near := peers(free)
	var plan []plannedNetwork
	for _, n := range free {
		plan = append(plan, plannedNetwork{Network: n, Uplink: uplinks[n.ID], Publish: published[n.Name], Peers: near[n.Name]})
	}
	return plan, host, errs, nil
}

// usedBy lists what the routes of foreign interfaces cover. Those to lo0 are the host's own addresses, again.
func usedBy(routes []route, ours []link) []used {
	var out []used
	for _, r := range routes {
		// An old netstat may cut names all the same.
		own := r.Dev == "lo0" || slices.ContainsFunc(ours, func(l link) bool { return l.Name == r.Dev || len(r.Dev) >= 8 && strings.HasPrefix(l.Name, r.Dev) })
		if !own && !r.Dst.Addr().IsMulticast() && !(r.Dst.Addr().Is6() && r.Dst.Addr().IsLinkLocalUnicast()) {
			out = append(out, used{Prefix: r.Dst, Dev: r.Dev})
		}
	}
	return out
}

// ensureNetwork makes one network: the host's rules, the bridge, the router with its two links and its rules.
func (d *freebsd) ensureNetwork(ctx context.Context, l hostLinks, n plannedNetwork, plan []plannedNetwork, host hostPF) error {
	if host.Present {
		a, err := newAnchor(d.o.Instance, n.ID)
		if err != nil {
			return err
		}
		delete(d.emptied, n.ID)
		if err := d.load(ctx, pfTarget{anchor: a}, hostAnchor(n, host.Outside, host.Bridged)); err != nil {
			return err
		}
	}
	if err := d.ensureBridge(ctx, l, n); err != nil {
		return err
	}
	if err := d.ensureRouter(ctx, l, n, plan, host.Present); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	return nil
}

// ensureBridge makes the bridge with the host's own address: addresses belong on the bridge, never on a member. It never
// takes a NIC of the host as a member.
func (d *freebsd) ensureBridge(ctx context.Context, l hostLinks, n plannedNetwork) error {
	name := bridgeName(n.ID)
	x, there, err := d.own(ctx, l, name)
	if err != nil {
		return err
	}
	if !there {
		made, err := d.create(ctx, "bridge", mark{Instance: d.o.Instance, Network: n.ID, Jail: markBridge})
		if err != nil {
			return err
		}
		if _, err := d.run(ctx, ifconfigPath, made, "name", name); err != nil {
			return errors.Join(fmt.Errorf("name bridge %s: %w", name, err), d.destroy(context.WithoutCancel(ctx), "", made))
		}
		l[name] = 1
		x = iface{MTU: 1500}
	}
	e := end{name: name, addrs: prefixes(n.HostAddr(), n.Subnet, n.HostAddr6(), n.Subnet6)}
	if err := d.raise(ctx, "", e, x); err != nil {
		return err
	}
	if x.MTU != n.mtu() { // all members follow, and later ones are made so
		if _, err := d.run(ctx, ifconfigPath, name, "mtu", strconv.Itoa(n.mtu())); err != nil {
			return fmt.Errorf("set MTU %d of bridge %s: %w", n.mtu(), name, err)
		}
	}
	return nil
}

// prefixes puts addresses into their subnets; those that are not there are left out.
func prefixes(a netip.Addr, subnet netip.Prefix, a6 netip.Addr, subnet6 netip.Prefix) []netip.Prefix {
	out := []netip.Prefix{netip.PrefixFrom(a, subnet.Bits())}
	if a6.IsValid() && subnet6.IsValid() {
		out = append(out, netip.PrefixFrom(a6, subnet6.Bits()))
	}
	return out
}

// Check finds what Set(c) would find in its way, and changes nothing.
func (d *freebsd) Check(ctx context.Context, c Config) error {
	d.setMu.Lock()
	defer d.setMu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	nets, errs := c.normalize()
	found, err := d.marked(ctx, notOfJails)
	if err != nil {
		return fmt.Errorf("check networks: %w", err)
	}
	routes, err := d.routes(ctx, slices.ContainsFunc(nets, func(n Network) bool { return n.Subnet6.IsValid() }))
	if err != nil {
		return fmt.Errorf("check networks: %w", err)
	}
	inUse := usedBy(routes, found)
	for _, n := range nets {
		if o := overlap(n, inUse); o != nil {
			errs = append(errs, o)
		}
		for _, p := range n.Publish {
			if err := d.relays.try(p); err != nil {
				errs = append(errs, d.portError(ctx, n, p, err))
			}
		}
	}
	return errors.Join(errs...)
}
