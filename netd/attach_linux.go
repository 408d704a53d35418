package netd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attach makes the namespace of a jail. Order: first what the bridge will let pass, then the namespace, then its
// interfaces; so nothing is ever connected without being guarded. The namespace's name is the commit: Sweep
// finds what a killed Attach left by that name and by the marks on links.
func (d *linux) Attach(ctx context.Context, c NSConfig) (path string, err error) {
	defer d.m.observe("attach", time.Now(), &err)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	defer d.busy.lock(c.ID)()
	d.mu.RLock()
	defer d.mu.RUnlock()
	nets := make(map[string]Network, len(c.Ports))
	for _, p := range c.Ports {
		if n, ok := d.nets[p.Network]; ok {
			nets[p.Network] = n.Network
		}
	}
	if err := c.check(nets); err != nil {
		return "", err
	}
	c.Ports = slices.Clone(c.Ports)
	slices.SortFunc(c.Ports, func(a, b Port) int { return a.NIC - b.NIC })
	ns, err := d.attach(c)
	if err == nil {
		ns.close()
		return d.jailPath(c.ID), nil
	}
	err = fmt.Errorf("attach jail %s (%s) to its networks: %w", c.Name, c.ID, err)
	if ns == nil || ns.fresh { // nothing was there before: leave nothing
		if ns != nil {
			ns.close()
		}
		return "", errors.Join(err, d.detach(c.ID))
	}
	ns.close()
	return "", err
}

func (d *linux) attach(c NSConfig) (*namespace, error) {
	if err := d.repin(c); err != nil {
		return nil, err
	}
	d.step("pinned")
	ns, err := openNS(d.jailPath(c.ID))
	if errors.Is(err, fs.ErrNotExist) {
		if ns, err = d.spares.take(); err == nil {
			d.step("ns-made")
			err = ns.mount(d.jailPath(c.ID), d.step)
		}
	}
	if err != nil {
		return nil, err
	}
	if !ns.fresh {
		if err := d.trim(ns, c); err != nil {
			return ns, err
		}
	}
	for i, p := range c.Ports {
		if err := d.attachPort(ns, c.ID, p, i == 0); err != nil {
			return ns, fmt.Errorf("eth%d in network %s: %w", p.NIC, p.Network, err)
		}
		d.step("port-done")
	}
	if len(c.Ports) == 0 {
		return ns, ns.nl.must(linkUp(1))
	}
	return ns, d.arrived(c)
}

// jailSysctls are set in the namespace of a jail. Ports below 1024 and ping sockets are for everybody in it: its root may
// be an ordinary user of the host, without capabilities over this namespace.
var jailSysctls = [][2]string{
	{"ipv4/ip_unprivileged_port_start", "0"},
	{"ipv4/ping_group_range", "0 2147483647"},
}

// repin makes what the bridge lets pass for a jail exactly c.
func (d *linux) repin(c NSConfig) error {
	var want []pin
	for _, p := range c.Ports {
		want = append(want, pin{Link: jailPort(c.ID, p.NIC), MAC: p.mac(c.ID), Addr: p.Addr, Addr6: p.Addr6})
	}
	d.pinMu.Lock()
	have := d.pins[c.ID]
	d.pinMu.Unlock()
	var old []pin
	for _, p := range have {
		if !slices.Contains(want, p) {
			old = append(old, p)
		}
	}
	if err := d.unpin(old, pinSets...); err != nil {
		return err
	}
	if len(want) > 0 {
		if err := d.nf.with(func(s *conn) error { return pinChange(s, d.table, false, want, pinSets) }); err != nil {
			return err
		}
	}
	d.pinMu.Lock()
	defer d.pinMu.Unlock()
	d.pins[c.ID] = want
	return nil
}

// unpin takes pins out of sets; those that are not there are success.
func (d *linux) unpin(old []pin, sets ...string) error {
	if len(old) == 0 {
		return nil
	}
	return d.nf.with(func(s *conn) error {
		err := pinChange(s, d.table, true, old, sets)
		if errors.Is(err, unix.ENOENT) { // one is missing, so none was deleted
			err = pinDeleteEach(s, d.table, old, sets)
		}
		return err
	})
}

// attachPort connects one interface, or corrects it.
func (d *linux) attachPort(ns *namespace, id string, p Port, first bool) error {
	n := d.nets[p.Network]
	mac := p.mac(id)
	eth := "eth" + strconv.Itoa(p.NIC)
	w := vethWish{name: jailPort(id, p.NIC), peer: eth, peerMAC: mac, peerNS: ns.fd, mtu: n.mtu()}
	m := mark{Instance: d.o.Instance, Network: n.ID, Jail: id, MAC: mac, Addr: p.Addr, Addr6: p.Addr6}
	index, fresh, err := d.ensureVeth(ns, w, m, n.bridge)
	if err != nil {
		return err
	}
	addrs := []netip.Prefix{netip.PrefixFrom(p.Addr, n.Subnet.Bits())}
	if p.Addr6.IsValid() {
		addrs = append(addrs, netip.PrefixFrom(p.Addr6, n.Subnet6.Bits()))
	}
	reqs := []*nl.NetlinkRequest{linkUp(1), linkAddrGen(index, p.Addr6.IsValid()), linkUp(index)}
	if fresh {
		for _, a := range addrs {
			reqs = append(reqs, addAddr(index, a))
		}
	} else if err := fixPort(ns, index, mac, addrs, first, n.Network); err != nil {
		return err
	}
	if first {
		reqs = append(reqs, addRoute(index, default4, n.Gateway(), false))
		if p.Addr6.IsValid() {
			reqs = append(reqs, addRoute(index, default6, n.Gateway6(), false))
		}
	}
	if err := ns.nl.must(reqs...); err != nil {
		return fmt.Errorf("configure %s: %w", eth, err)
	}
	return nil
}

// fixPort corrects MAC, addresses and a wrong default route of an interface that was there before.
func fixPort(ns *namespace, index int, mac MAC, addrs []netip.Prefix, first bool, n Network) error {
	h, err := ns.inside()
	if err != nil {
		return err
	}
	defer h.Close()
	x, err := h.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("find interface %d: %w", index, err)
	}
	if [6]byte(x.Attrs().HardwareAddr) != mac {
		if err := h.LinkSetHardwareAddr(x, mac[:]); err != nil {
			return fmt.Errorf("set MAC %v: %w", mac, err)
		}
	}
	if x.Attrs().MTU != n.mtu() {
		if err := h.LinkSetMTU(x, n.mtu()); err != nil {
			return fmt.Errorf("set MTU %d: %w", n.mtu(), err)
		}
	}
	if err := setAddrs(h, ns.nl, index, addrs); err != nil {
		return err
	}
	if first {
		return nil
	}
	routes, err := dump(func() ([]netlink.Route, error) { return h.RouteList(x, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Gw != nil && (r.Dst == nil || r.Dst.IP.IsUnspecified()) {
			if err := h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("remove default route: %w", err)
			}
		}
	}
	return nil
}
