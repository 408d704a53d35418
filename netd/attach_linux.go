package netd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attach makes the namespace of a jail. Order: first what the bridge will let pass, then the namespace, then its
// interfaces; so nothing is ever connected without being guarded. The namespace's name is the commit: Sweep
// finds what a killed Attach left by that name and by the marks on links.
func (d *linux) Attach(ctx context.Context, c NSConfig) (string, error) {
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
	if err := os.MkdirAll(d.jailDir(), 0o755); err != nil {
		return nil, err
	}
	ns, err := makeNS(d.jailPath(c.ID), jailSysctls, d.step)
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
	return ns, nil
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

// ensureVeth makes a pair with one end on the host and the other in ns, or finds and corrects it. It returns the index
// inside ns, and fresh if the pair was made now.
func (d *linux) ensureVeth(ns *namespace, w vethWish, m mark, master int) (index int, fresh bool, err error) {
	err = d.rt.with(func(c *conn) error {
		if !ns.fresh {
			if index, err = d.adoptVeth(c, ns, w, m, master); err != nil || index != 0 {
				return err
			}
		}
		fresh = true
		for range 2 {
			errs, err := c.do(newVeth(w), setLink(w.name, m, master))
			if err != nil {
				return err
			}
			if errors.Is(errs[0], unix.EEXIST) {
				if err := d.makeRoom(c, w.name); err != nil {
					return err
				}
				continue
			}
			if err := errors.Join(errs...); err != nil {
				return fmt.Errorf("make interface pair %s: %w", w.name, err)
			}
			return nil
		}
		return fmt.Errorf("interface %s comes back each time it is removed: is another daemon using instance %s?", w.name, d.o.Instance)
	})
	if err != nil || index != 0 {
		return index, false, err
	}
	d.step("veth")
	index, _, err = ns.nl.get(w.peer)
	if err == nil && index == 0 {
		err = fmt.Errorf("interface %s vanished: was its namespace removed meanwhile?", w.peer)
	}
	return index, fresh, err
}

// adoptVeth finds a pair that was made before; 0 means that there is none, and that its remains were removed.
func (d *linux) adoptVeth(c *conn, ns *namespace, w vethWish, m mark, master int) (int, error) {
	h, err := ns.inside()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	in, err := byName(h)
	if err != nil {
		return 0, err
	}
	x := in[w.peer]
	if x == nil {
		return 0, nil
	}
	host, _, err := c.get(w.name)
	if err != nil {
		return 0, err
	}
	if host != 0 && x.Attrs().ParentIndex == host {
		if err := c.must(setLink(w.name, m, master)); err != nil {
			return 0, fmt.Errorf("correct interface %s: %w", w.name, err)
		}
		return x.Attrs().Index, nil
	}
	if err := h.LinkDel(x); err != nil {
		return 0, fmt.Errorf("remove %s, whose other end is lost: %w", w.peer, err)
	}
	return 0, nil
}

// makeRoom gets an old link of ours out of the way: the removal of a namespace is asynchronous, so the link of a jail's
// former start may still be there. Renaming is instant, removing is not.
func (d *linux) makeRoom(c *conn, name string) error {
	index, alias, err := c.get(name)
	if err != nil || index == 0 {
		return err
	}
	m, ok := parseMark(alias)
	if !ok || m.Instance != d.o.Instance {
		return fmt.Errorf("interface %s exists and is not ours (alias %q): remove it", name, alias)
	}
	gone := fmt.Sprintf("%s%08x0", prefixGone, index)
	errs, err := c.do(renameLink(index, gone, mark{Instance: d.o.Instance, Network: m.Network, Jail: markGone}))
	switch {
	case err != nil:
		return err
	case errs[0] == nil:
		d.reaper.add(doomed{index: index})
	case errors.Is(errs[0], unix.ENODEV):
	default: // kernels before 6.2 rename no interface that is up
		return d.deleteLinks([]int{index})
	}
	return nil
}

// trim removes interfaces from a jail's namespace that c does not name.
func (d *linux) trim(ns *namespace, c NSConfig) error {
	h, err := ns.inside()
	if err != nil {
		return err
	}
	defer h.Close()
	in, err := byName(h)
	if err != nil {
		return err
	}
	for name, x := range in {
		keep := slices.ContainsFunc(c.Ports, func(p Port) bool { return name == "eth"+strconv.Itoa(p.NIC) })
		if keep || !strings.HasPrefix(name, "eth") {
			continue
		}
		if err := h.LinkDel(x); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

// Detach cuts a jail off.
func (d *linux) Detach(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !idPattern.MatchString(id) {
		return fmt.Errorf("detach jail: id %q is not 8 hex digits", id)
	}
	defer d.busy.lock(id)()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.detach(id); err != nil {
		return fmt.Errorf("detach jail %s: %w", id, err)
	}
	return nil
}

// detach lets the ports of a jail send nothing more, takes the namespace's name away, and leaves the links to the reaper.
// The port stays in the set of guarded ports until its link is gone: a port that is not in it may send anything.
func (d *linux) detach(id string) error {
	d.pinMu.Lock()
	old := d.pins[id]
	d.pinMu.Unlock()
	if err := d.unpin(old, setMACs, setAddr4, setAddr6); err != nil {
		return err
	}
	d.step("unpinned")
	ends, err := d.hostEnds(id, old)
	if err != nil {
		return err
	}
	if err := removeNS(d.jailPath(id)); err != nil {
		return err
	}
	d.step("ns-removed")
	d.pinMu.Lock()
	delete(d.pins, id)
	d.pinMu.Unlock()
	d.reaper.add(ends...)
	return nil
}

// hostEnds finds the links of a jail on the host: by what is remembered of it, else by all names that it may have.
func (d *linux) hostEnds(id string, known []pin) (ends []doomed, err error) {
	names := make([]string, 0, 10)
	for _, p := range known {
		names = append(names, p.Link)
	}
	for nic := 0; nic < 10 && len(known) == 0; nic++ {
		names = append(names, jailPort(id, nic))
	}
	err = d.rt.with(func(c *conn) error {
		for _, name := range names {
			index, alias, err := c.get(name)
			if err != nil {
				return err
			}
			if m, ok := parseMark(alias); index != 0 && ok && m.Instance == d.o.Instance {
				ends = append(ends, doomed{index: index, jail: id, link: name})
			}
		}
		return nil
	})
	return ends, err
}

// unguard forgets the port of a link that is gone, unless the jail is attached again.
func (d *linux) unguard(x doomed) error {
	if x.jail == "" {
		return nil
	}
	defer d.busy.lock(x.jail)()
	d.mu.RLock()
	defer d.mu.RUnlock()
	d.pinMu.Lock()
	again := slices.ContainsFunc(d.pins[x.jail], func(p pin) bool { return p.Link == x.link })
	d.pinMu.Unlock()
	if again {
		return nil
	}
	return d.unpin([]pin{{Link: x.link}}, setPorts)
}
