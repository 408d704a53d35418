package netd

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// wayTo adds or removes a route to one address, by via or straight on the link.
func wayTo(index int, to, via netip.Addr, remove bool) *nl.NetlinkRequest {
	kind, flags := unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE
	if remove {
		kind, flags = unix.RTM_DELROUTE, 0
	}
	req := nl.NewNetlinkRequest(kind, flags)
	msg := nl.NewRtMsg()
	msg.Family, msg.Dst_len, msg.Protocol = uint8(family(to)), uint8(to.BitLen()), protoReach //nolint:gosec // AF_*, 32 or 128
	if !via.IsValid() {
		msg.Scope = unix.RT_SCOPE_LINK
	}
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, to.AsSlice()))
	if via.IsValid() {
		req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, via.AsSlice()))
	}
	req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index)))) //nolint:gosec // an interface index
	return req
}

// ndmsg is struct ndmsg of linux/neighbour.h.
type ndmsg struct {
	family uint8
	index  int32
	state  uint8
	flags  uint8
}

// Len implements nl.NetlinkRequestData.
func (ndmsg) Len() int { return 12 }

// Serialize implements nl.NetlinkRequestData.
func (m ndmsg) Serialize() []byte {
	b := make([]byte, 12)
	b[0] = m.family
	copy(b[4:], nl.Uint32Attr(uint32(m.index))) //nolint:gosec // an interface index
	copy(b[8:], nl.Uint16Attr(uint16(m.state)))
	b[10] = m.flags
	return b
}

// neighProxy makes a link answer neighbours that ask for an address, or ends it.
func neighProxy(index int, a netip.Addr, remove bool) *nl.NetlinkRequest {
	kind, flags := unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE
	if remove {
		kind, flags = unix.RTM_DELNEIGH, 0
	}
	req := nl.NewNetlinkRequest(kind, flags)
	req.AddData(ndmsg{uint8(family(a)), int32(index), 0, unix.NTF_PROXY}) //nolint:gosec // AF_*, an interface index
	req.AddData(nl.NewRtAttr(unix.NDA_DST, a.AsSlice()))
	return req
}

// neighbour tells the host where an address is; the kernel verifies it when it is used.
func neighbour(index int, a netip.Addr, mac MAC) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	req.AddData(ndmsg{uint8(family(a)), int32(index), unix.NUD_STALE, 0}) //nolint:gosec // AF_*, an interface index
	req.AddData(nl.NewRtAttr(unix.NDA_DST, a.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.NDA_LLADDR, mac[:]))
	return req
}

// routesFound lists the addresses to which we have made routes by a link.
func routesFound(h *netlink.Handle, index int) (map[netip.Addr]bool, error) {
	out := map[netip.Addr]bool{}
	if index == 0 {
		return out, nil
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: index, Protocol: protoReach}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if p, ok := prefix(r.Dst); ok && p.IsSingleIP() {
			out[p.Addr()] = true
		}
	}
	return out, nil
}

// waysOf lists what one network has: routes in its router, and answers on its bridge.
func (d *linux) waysOf(n network) (inRouter, proxied map[netip.Addr]bool, err error) {
	ns, err := openNS(d.routerPath(n.ID))
	if err != nil {
		return nil, nil, err
	}
	defer ns.close()
	h, err := ns.inside()
	if err != nil {
		return nil, nil, err
	}
	defer h.Close()
	lan, _, err := ns.nl.get(nicLAN)
	if err != nil {
		return nil, nil, err
	}
	if inRouter, err = routesFound(h, lan); err != nil {
		return nil, nil, err
	}
	proxied = map[netip.Addr]bool{}
	if !n.Subnet6.IsValid() {
		return inRouter, proxied, nil
	}
	list, err := dump(func() ([]netlink.Neigh, error) { return d.host.NeighProxyList(n.bridge, netlink.FAMILY_V6) })
	if err != nil {
		return nil, nil, fmt.Errorf("list proxied neighbours: %w", err)
	}
	for _, x := range list {
		if a, ok := netip.AddrFromSlice(x.IP); ok {
			proxied[a] = true
		}
	}
	return inRouter, proxied, nil
}

func (d *linux) indexOf(name string) (index int, err error) {
	err = d.rt.with(func(c *conn) error {
		index, _, err = c.get(name)
		return err
	})
	return index, err
}

func (d *linux) setMTUOf(name string, mtu int) error {
	return d.rt.with(func(c *conn) error {
		index, _, err := c.get(name)
		if err != nil || index == 0 {
			return err
		}
		return c.must(setMTU(index, mtu))
	})
}

// proxySysctls make a bridge answer for addresses whose route leads elsewhere, at once: by default the kernel waits for up to
// 0.8 s before such an answer (arp(7), proxy_delay).
func (d *linux) proxySysctls(bridge string, n plannedNetwork) error {
	on := "0"
	if n.Mesh != nil {
		on = "1"
	}
	set := []error{}
	err := d.onHost(func() error {
		set = append(set, setSysctl("ipv4/conf/"+bridge+"/proxy_arp", on))
		if on == "1" {
			set = append(set, setSysctl("ipv4/neigh/"+bridge+"/proxy_delay", "0"))
		}
		if on == "1" && n.v6() {
			set = append(set, setSysctl("ipv6/conf/"+bridge+"/proxy_ndp", "1"), setSysctl("ipv6/neigh/"+bridge+"/proxy_delay", "0"))
		}
		return errors.Join(set...)
	})
	if err != nil || on == "0" || !n.v6() {
		return err
	}
	return d.forward6(bridge)
}

// forward6 lets IPv6 packets that come in by a link of ours be forwarded, whatever the host does with others (Linux 6.17; on
// older kernels net.ipv6.conf.all.forwarding has to be 1). A link that forwards also answers for proxied neighbours.
func (d *linux) forward6(link string) error {
	return d.onHost(func() error {
		return errors.Join(setSysctl("ipv6/conf/"+link+"/forwarding", "1"), setSysctl("ipv6/conf/"+link+"/force_forwarding", "1"))
	})
}

// onHost runs fn in the host's network namespace.
func (d *linux) onHost(fn func() error) error {
	if d.o.HostNS == "" {
		return fn()
	}
	return inNS(d.hostFD, fn)
}
