package netd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// protoReach marks our routes to addresses on other hosts (rtnetlink(7), rtm_protocol: above 4 is for administrators).
const protoReach = 0x52

// reach is what the last Reach made, so that the next one tells the kernel only what differs. A hundred thousand routes
// are read once, not at each change of one.
type reach struct {
	known  bool
	device int             // interface index of the mesh
	ways   map[Remote]bool // of networks that were there
}

// forget makes the next Reach look at what is there.
func (r *reach) forget() { *r = reach{} }

// Reach makes the ways to remote. On the host an address is a route to the mesh; its neighbours are answered by
// proxy_arp, which follows the routes, and for IPv6 by an entry of its own. In the router it is a route by the
// host's address, by which the router's rules know what is elsewhere.
func (d *linux) Reach(ctx context.Context, remote []Remote) (err error) {
	defer d.m.observe("reach", time.Now(), &err)
	d.setMu.Lock()
	defer d.setMu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	want, dev := d.wantedWays(remote)
	device := 0
	if dev != "" {
		if device, err = d.indexOf(dev); err != nil {
			return fmt.Errorf("reach other hosts: %w", err)
		}
	}
	if device == 0 && len(want) > 0 {
		return fmt.Errorf("reach other hosts: the overlay's interface %s is not there yet", dev)
	}
	have := d.reach
	if !have.known || have.device != device {
		if have.ways, err = d.waysFound(device); err == nil && device != 0 {
			err = d.forward6(dev)
		}
		if err != nil {
			return fmt.Errorf("reach other hosts: %w", err)
		}
	}
	d.reach.forget()
	if err := d.changeWays(device, have.ways, want); err != nil {
		return fmt.Errorf("reach other hosts: %w", err)
	}
	d.reach = reach{known: true, device: device, ways: want}
	return nil
}

// wantedWays leaves out what is not of a meshed network of this host, and returns the name of the mesh's device.
func (d *linux) wantedWays(remote []Remote) (want map[Remote]bool, device string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	want = map[Remote]bool{}
	for _, r := range remote {
		n, ok := d.nets[r.Network]
		if ok && n.mesh != nil && (n.Subnet.Contains(r.Addr) || n.Subnet6.IsValid() && n.Subnet6.Contains(r.Addr)) {
			want[r] = true
		}
	}
	for _, n := range d.nets {
		if n.mesh != nil {
			device = n.mesh.Device
		}
	}
	return want, device
}

// changeWays brings the host and the routers from have to want.
func (d *linux) changeWays(device int, have, want map[Remote]bool) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var add, del []Remote
	for r := range want {
		if !have[r] {
			add = append(add, r)
		}
	}
	for r := range have {
		if !want[r] {
			del = append(del, r)
		}
	}
	order := func(a, b Remote) int { return a.Addr.Compare(b.Addr) }
	slices.SortFunc(add, order)
	slices.SortFunc(del, order)
	if err := d.hostWays(device, add, del); err != nil {
		return err
	}
	for name, n := range d.nets {
		mine := func(r Remote) bool { return r.Network == name }
		if n.mesh == nil || !slices.ContainsFunc(add, mine) && !slices.ContainsFunc(del, mine) {
			continue
		}
		if err := d.routerWays(n.Network, only(add, mine), only(del, mine)); err != nil {
			return fmt.Errorf("router of network %s: %w", name, err)
		}
		// Neighbours of this host may still know the address as that of a jail which was here.
		if err := d.announce(n, only(add, mine)); err != nil {
			return fmt.Errorf("network %s: %w", name, err)
		}
	}
	return nil
}

func only(all []Remote, ok func(Remote) bool) (out []Remote) {
	for _, r := range all {
		if ok(r) {
			out = append(out, r)
		}
	}
	return out
}

func (d *linux) hostWays(device int, add, del []Remote) error {
	var reqs []*nl.NetlinkRequest
	for _, r := range del {
		if n, ok := d.nets[r.Network]; ok && r.Addr.Is6() {
			reqs = append(reqs, neighProxy(n.bridge, r.Addr, true))
		}
		reqs = append(reqs, wayTo(device, r.Addr, netip.Addr{}, true))
	}
	for _, r := range add {
		reqs = append(reqs, wayTo(device, r.Addr, netip.Addr{}, false))
		if r.Addr.Is6() {
			reqs = append(reqs, neighProxy(d.nets[r.Network].bridge, r.Addr, false))
		}
	}
	return d.rt.with(func(c *conn) error { return mustWays(c, reqs) })
}

func (d *linux) routerWays(n Network, add, del []Remote) error {
	ns, err := openNS(d.routerPath(n.ID))
	if err != nil {
		return err
	}
	defer ns.close()
	lan, _, err := ns.nl.get(nicLAN)
	if err != nil {
		return err
	}
	var reqs []*nl.NetlinkRequest
	for _, r := range del {
		reqs = append(reqs, wayTo(lan, r.Addr, n.via(r.Addr), true))
	}
	for _, r := range add {
		reqs = append(reqs, wayTo(lan, r.Addr, n.via(r.Addr), false))
	}
	return mustWays(ns.nl, reqs)
}

// via is the host's address of the family of a.
func (n Network) via(a netip.Addr) netip.Addr {
	if a.Is6() {
		return n.HostAddr6()
	}
	return n.HostAddr()
}

// mustWays is conn.must, where what is gone already needs not be removed.
func mustWays(c *conn, reqs []*nl.NetlinkRequest) error {
	errs, err := c.do(reqs...)
	if err != nil {
		return err
	}
	for i, e := range errs {
		gone := errors.Is(e, unix.ESRCH) || errors.Is(e, unix.ENOENT) || errors.Is(e, unix.ENODEV)
		if removes := reqs[i].Type == unix.RTM_DELROUTE || reqs[i].Type == unix.RTM_DELNEIGH; e != nil && !(gone && removes) {
			err = errors.Join(err, fmt.Errorf("change a route: %w", e))
		}
	}
	return err
}

// waysFound reads what earlier calls, or an earlier daemon, have made. A way that is not whole counts as missing: it is made
// again.
func (d *linux) waysFound(device int) (map[Remote]bool, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	found := map[Remote]bool{}
	owned := map[netip.Addr]bool{}
	onHost, err := routesFound(d.host, device)
	if err != nil {
		return nil, err
	}
	for name, n := range d.nets {
		if n.mesh == nil {
			continue
		}
		inRouter, proxied, err := d.waysOf(n)
		if err != nil {
			return nil, fmt.Errorf("network %s: %w", name, err)
		}
		all := map[netip.Addr]bool{}
		for a := range onHost {
			if n.Subnet.Contains(a) || n.Subnet6.IsValid() && n.Subnet6.Contains(a) {
				all[a] = true
			}
		}
		for a := range inRouter {
			all[a] = true
		}
		for a := range proxied {
			all[a] = true
		}
		for a := range all {
			whole := onHost[a] && inRouter[a] && (a.Is4() || proxied[a])
			found[Remote{name, a}], owned[a] = whole, true
		}
	}
	for a := range onHost { // of networks that are gone
		if !owned[a] {
			found[Remote{"", a}] = true
		}
	}
	return found, nil
}

// dropWays removes the ways of this instance from the host, whatever networks there are: the mesh's device may stay.
func (d *linux) dropWays(l links) error {
	d.reach.forget()
	for index, m := range l.marks {
		if m.Instance != d.o.Instance || m.Network != markMesh {
			continue
		}
		found, err := routesFound(d.host, index)
		if err != nil {
			return err
		}
		var reqs []*nl.NetlinkRequest
		for a := range found {
			reqs = append(reqs, wayTo(index, a, netip.Addr{}, true))
		}
		if err := d.rt.with(func(c *conn) error { return mustWays(c, reqs) }); err != nil {
			return err
		}
	}
	return nil
}
