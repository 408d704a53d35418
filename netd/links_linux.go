package netd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// links is one dump of the host's links.
type links struct {
	byName  map[string]netlink.Link
	byIndex map[int]netlink.Link
	marks   map[int]mark // those that any instance of rexcarcer has marked
}

func (d *linux) scan() (links, error) {
	l := links{map[string]netlink.Link{}, map[int]netlink.Link{}, map[int]mark{}}
	all, err := dump(d.host.LinkList)
	if err != nil {
		return l, fmt.Errorf("list interfaces: %w", err)
	}
	for _, x := range all {
		a := x.Attrs()
		l.byName[a.Name], l.byIndex[a.Index] = x, x
		if m, ok := parseMark(a.Alias); ok {
			l.marks[a.Index] = m
		}
	}
	return l, nil
}

// dump repeats a listing that the kernel says was disturbed by a change.
func dump[T any](list func() ([]T, error)) (all []T, err error) {
	for range 5 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, err
}

// ours says whether this instance made the link.
func (d *linux) ours(l links, index int) bool {
	m, ok := l.marks[index]
	return ok && m.Instance == d.o.Instance
}

// own returns the link of this name if it is ours; one that is not is an error, because its name is needed.
func (d *linux) own(l links, name string) (netlink.Link, error) {
	x := l.byName[name]
	if x != nil && !d.ours(l, x.Attrs().Index) {
		return nil, fmt.Errorf("interface %s exists and is not ours (alias %q): remove it", name, x.Attrs().Alias)
	}
	return x, nil
}

// inUse lists addresses and routes of the host that are not of this instance.
func (d *linux) inUse(l links) ([]used, error) {
	var out []used
	add := func(p netip.Prefix, index int) {
		if d.ours(l, index) {
			return
		}
		u := used{Prefix: p.Masked()}
		if x := l.byIndex[index]; x != nil {
			u.Dev, u.Owner = x.Attrs().Name, x.Attrs().Alias
		}
		out = append(out, u)
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return d.host.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if p, ok := prefix(a.IPNet); ok && !p.Addr().IsLinkLocalUnicast() || ok && p.Addr().Is4() {
			add(p, a.LinkIndex)
		}
	}
	routes, err := dump(func() ([]netlink.Route, error) { return d.host.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if p, ok := prefix(r.Dst); ok && (p.Addr().Is4() || !p.Addr().IsLinkLocalUnicast()) {
			add(p, r.LinkIndex)
		}
	}
	return out, nil
}

// outsideMTU is the MTU of the interface of the default route, or 1500.
func (d *linux) outsideMTU(l links) int {
	routes, err := dump(func() ([]netlink.Route, error) { return d.host.RouteList(nil, netlink.FAMILY_V4) })
	if err == nil {
		for _, r := range routes {
			if x := l.byIndex[r.LinkIndex]; x != nil && (r.Dst == nil || r.Dst.IP.IsUnspecified()) {
				return max(1280, min(x.Attrs().MTU, 65535))
			}
		}
	}
	return 1500
}

// skipStats is RTEXT_FILTER_SKIP_STATS (linux/rtnetlink.h): counters are most of the cost of an answer.
const skipStats = 1 << 3

// get asks for one link by name and returns its index, 0 if there is none, and its alias.
func (c *conn) get(name string) (index int, alias string, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	c.data = nil
	errs, err := c.do(req)
	switch {
	case err != nil:
		return 0, "", err
	case errors.Is(errs[0], unix.ENODEV):
		return 0, "", nil
	case errs[0] != nil:
		return 0, "", fmt.Errorf("look for interface %s: %w", name, errs[0])
	case len(c.data) < unix.SizeofIfInfomsg:
		return 0, "", fmt.Errorf("look for interface %s: short answer", name)
	}
	index = int(binary.NativeEndian.Uint32(c.data[4:]))
	attrs, err := nl.ParseRouteAttr(c.data[unix.SizeofIfInfomsg:])
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_IFALIAS {
			alias = unix.ByteSliceToString(a.Value)
		}
	}
	return index, alias, err
}

// reapGroup is the link group of interfaces that are about to be deleted: the kernel removes a whole group in one go,
// which costs one wait for readers (about 14 ms) instead of one for each link.
const reapGroup = 0x52585247

// deleteLinks removes links of the host by index. Those that are gone already are success.
func (d *linux) deleteLinks(indexes []int) error {
	if len(indexes) == 0 {
		return nil
	}
	return d.rt.with(func(c *conn) error {
		var reqs []*nl.NetlinkRequest
		for _, i := range indexes {
			req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
			msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
			msg.Index = int32(i) //nolint:gosec // an interface index
			req.AddData(msg)
			req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(reapGroup)))
			reqs = append(reqs, req)
		}
		req := nl.NewNetlinkRequest(unix.RTM_DELLINK, 0)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(reapGroup)))
		errs, err := c.do(append(reqs, req)...)
		if err != nil {
			return err
		}
		for _, e := range errs {
			if e != nil && !errors.Is(e, unix.ENODEV) {
				err = errors.Join(err, fmt.Errorf("delete interface: %w", e))
			}
		}
		return err
	})
}

// linksLeft returns those of indexes that still exist on the host.
func (d *linux) linksLeft(indexes []int) (left []int, err error) {
	err = d.rt.with(func(c *conn) error {
		var reqs []*nl.NetlinkRequest
		for _, i := range indexes {
			req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
			msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
			msg.Index = int32(i) //nolint:gosec // an interface index
			req.AddData(msg)
			req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
			reqs = append(reqs, req)
		}
		errs, err := c.do(reqs...)
		for i, e := range errs {
			if e == nil {
				left = append(left, indexes[i])
			}
		}
		if err != nil {
			return err
		}
		return nil
	})
	return left, err
}

// setAddrs makes the addresses of a link exactly want, the kernel's own link-local ones aside.
func setAddrs(h *netlink.Handle, c *conn, index int, want []netip.Prefix) error {
	x, err := h.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("find interface %d: %w", index, err)
	}
	have, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(x, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", x.Attrs().Name, err)
	}
	missing := map[netip.Prefix]bool{}
	for _, p := range want {
		missing[p] = true
	}
	for _, a := range have {
		p, ok := prefix(a.IPNet)
		if !ok || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if missing[p] {
			delete(missing, p)
			continue
		}
		if err := h.AddrDel(x, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %v from %s: %w", p, x.Attrs().Name, err)
		}
	}
	for _, p := range want {
		if missing[p] {
			if err := c.must(addAddr(index, p)); err != nil {
				return fmt.Errorf("add address %v to %s: %w", p, x.Attrs().Name, err)
			}
		}
	}
	return nil
}

// inside opens the library's view of a namespace.
func (n *namespace) inside() (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(n.fd), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket in %s: %w", n.path, err)
	}
	return h, nil
}

// byName returns the links of a namespace but lo.
func byName(h *netlink.Handle) (map[string]netlink.Link, error) {
	all, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	out := map[string]netlink.Link{}
	for _, x := range all {
		if x.Type() == "veth" || strings.HasPrefix(x.Attrs().Name, "eth") {
			out[x.Attrs().Name] = x
		}
	}
	return out, nil
}

// prefix converts the library's form.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	if a.Is4In6() && len(n.Mask) == net.IPv4len {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, ones), ok
}
