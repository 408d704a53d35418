package freebsdtest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// routeHost is route add -host A -interface DEV, and route delete -host A.
func (n *Net) routeHost(vnet int, verb string, args []string) Reply {
	a, err := netip.ParseAddr(args[0])
	if err != nil {
		return Fail(1, "route: bad address: %s", args[0])
	}
	dst := netip.PrefixFrom(a, a.BitLen())
	i := slices.IndexFunc(n.routes[vnet], func(o bsdRoute) bool { return o.Dst == dst })
	switch {
	case verb == "delete" && len(args) == 1 && i >= 0:
		n.routes[vnet] = slices.Delete(n.routes[vnet], i, i+1)
		return Reply{Out: fmt.Sprintf("delete host %s\n", a)}
	case verb == "delete" && len(args) == 1:
		return Reply{RC: 1, Out: fmt.Sprintf("delete host %s fib 0: not in table\n", a), Err: "route: message indicates error: No such process\n"}
	case verb == "add" && len(args) == 3 && args[1] == "-interface":
	default:
		return Fail(1, "freebsdtest: route %s -host %s: not modelled", verb, strings.Join(args, " "))
	}
	dev := n.find(vnet, args[2])
	if dev == nil {
		return Fail(1, "route: bad interface name: %s", args[2])
	}
	if i >= 0 {
		return Reply{RC: 1, Out: fmt.Sprintf("add host %s: gateway %s fib 0: route already in table\n", a, args[2]), Err: "route: message indicates error: File exists\n"}
	}
	n.routes[vnet] = append(n.routes[vnet], bsdRoute{Dst: dst, Gw: "link#9", Dev: dev})
	return Reply{Out: fmt.Sprintf("add host %s: gateway %s\n", a, args[2])}
}

// arp is arp -s A auto pub, arp -d A and arp -an, of the host. With a route to the address by another interface it makes no
// entry, says so and exits with 0 (arp_netlink.c).
func (n *Net) arp(_ *Host, _ run.Cmd, args []string) Reply {
	if len(args) == 1 && args[0] == "-an" {
		var b strings.Builder
		for _, e := range n.published {
			if n.find(0, e.dev) != nil {
				fmt.Fprintf(&b, "? (%s) at 58:9c:fc:10:ff:8e on %s permanent published [bridge]\n", e.addr, e.dev)
			}
		}
		b.WriteString("? (192.0.2.1) at 02:00:00:00:00:01 on em0 expires in 1178 seconds [ethernet]\n")
		return Reply{Out: b.String()}
	}
	if len(args) < 2 {
		return Fail(1, "freebsdtest: arp %s: not modelled", strings.Join(args, " "))
	}
	a, err := netip.ParseAddr(args[1])
	if err != nil {
		return Fail(1, "arp: %s: Name does not resolve", args[1])
	}
	i := slices.IndexFunc(n.published, func(e bsdPublished) bool { return e.addr == a })
	elsewhere := slices.ContainsFunc(n.routes[0], func(r bsdRoute) bool { return r.Dst.IsSingleIP() && r.Dst.Addr() == a })
	switch {
	case args[0] == "-d" && (i < 0 || elsewhere):
		return Fail(1, "arp: delete: cannot locate %s", a)
	case args[0] == "-d" && len(args) == 2:
		n.published = slices.Delete(n.published, i, i+1)
		return Reply{Out: fmt.Sprintf("%s (%s) deleted\n", a, a)}
	case args[0] != "-s" || len(args) != 4 || args[2] != "auto" || args[3] != "pub":
		return Fail(1, "freebsdtest: arp %s: not modelled", strings.Join(args, " "))
	}
	dev := n.reach(0, a)
	switch {
	case dev == nil:
		return Fail(1, "arp: no interface found for %s", a)
	case elsewhere:
		return Reply{Err: fmt.Sprintf("arp: delete: cannot locate %s\n", a)}
	case i < 0:
		n.published = append(n.published, bsdPublished{a, dev.Name})
	}
	return Reply{Out: fmt.Sprintf("using interface %s for proxy with address 58:9c:fc:10:ff:8e\n", dev.Name)}
}

// bsdPublished is an address for which the host answers on an interface.
type bsdPublished struct {
	addr netip.Addr
	dev  string
}
