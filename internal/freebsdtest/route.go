package freebsdtest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// route is route(8): add and change of [-inet6] default or -net PREFIX by a gateway.
func (n *Net) route(_ *Host, _ run.Cmd, args []string) Reply {
	vnet, args, r := n.enter("route", args)
	if r.RC != 0 {
		return r
	}
	all := strings.Join(args, " ")
	verb, args := args[0], args[1:]
	if len(args) > 1 && args[0] == "-host" {
		return n.routeHost(vnet, verb, args[1:])
	}
	dst := netip.MustParsePrefix("0.0.0.0/0")
	if len(args) > 0 && args[0] == "-inet6" {
		dst, args = netip.MustParsePrefix("::/0"), args[1:]
	}
	shown := "default"
	switch {
	case len(args) == 2 && args[0] == "default":
	case len(args) == 3 && args[0] == "-net":
		p, err := netip.ParsePrefix(args[1])
		if err != nil || p.Addr().Is4() != dst.Addr().Is4() {
			return Fail(1, "route: bad address: %s", args[1])
		}
		dst, shown, args = p, p.String(), args[1:]
	default:
		return Fail(1, "freebsdtest: route %s: not modelled", all)
	}
	gw, err := netip.ParseAddr(args[1])
	if err != nil {
		return Fail(1, "route: bad address: %s", args[1])
	}
	dev := n.reach(vnet, gw)
	i := slices.IndexFunc(n.routes[vnet], func(o bsdRoute) bool { return o.Dst == dst })
	fail := func(why, say string) Reply {
		return Reply{RC: 1, Out: fmt.Sprintf("%s net %s: gateway %s fib 0: %s\n", verb, shown, gw, say), Err: "route: message indicates error: " + why + "\n"}
	}
	switch {
	case verb == "add" && i >= 0:
		return fail("File exists", "route already in table")
	case dev == nil:
		return fail("Network is unreachable", "Network is unreachable")
	case verb == "add":
		n.routes[vnet] = append(n.routes[vnet], bsdRoute{Dst: dst, Gw: gw.String(), Dev: dev})
	case verb == "change" && i >= 0:
		n.routes[vnet][i] = bsdRoute{Dst: dst, Gw: gw.String(), Dev: dev}
	case verb == "change":
		return fail("No such process", "not in table")
	default:
		return Fail(1, "freebsdtest: route %s: not modelled", all)
	}
	return Reply{Out: fmt.Sprintf("%s net %s: gateway %s\n", verb, shown, gw)}
}

// reach is the interface that is up and in one network with a.
func (n *Net) reach(vnet int, a netip.Addr) *NIC {
	for _, x := range n.nics {
		if x.Vnet == vnet && x.Up && slices.ContainsFunc(x.Addrs, func(p netip.Prefix) bool { return p.Contains(a) && p.Addr() != a }) {
			return x
		}
	}
	return nil
}

// netstat is netstat -rn[W] -f inet or inet6. Without -W interfaces are cut to 10 characters, with it there are more columns.
func (n *Net) netstat(_ *Host, _ run.Cmd, args []string) Reply {
	vnet, args, r := n.enter("netstat", args)
	if r.RC != 0 {
		return r
	}
	if len(args) != 3 || args[0] != "-rn" && args[0] != "-rnW" || args[1] != "-f" {
		return Fail(1, "freebsdtest: netstat %s: not modelled", strings.Join(args, " "))
	}
	four, wide := args[2] == "inet", args[0] == "-rnW"
	var b strings.Builder
	b.WriteString("Routing tables\n\n" + map[bool]string{true: "Internet", false: "Internet6"}[four] + ":\n")
	line := func(dst, gw, flags, more, dev string) {
		if !wide {
			more, dev = "", dev[:min(len(dev), 10)]
		}
		fmt.Fprintf(&b, "%-18s %-18s %-8s %-14s %10s\n", dst, gw, flags, more, dev)
	}
	line("Destination", "Gateway", "Flags", "Nhop#   Mtu", "Netif Expire")
	for _, r := range n.routes[vnet] {
		dst := r.Dst.String()
		if r.Dst.Bits() == 0 {
			dst = "default"
		}
		if r.Dst.Addr().Is4() == four {
			line(dst, r.Gw, "UGS", "1   1500", r.Dev.Name)
		}
	}
	for i, x := range n.nics {
		for _, p := range x.Addrs {
			if x.Vnet != vnet || p.Addr().Is4() != four {
				continue
			}
			if x.Kind != "lo" {
				line(p.Masked().String(), fmt.Sprintf("link#%d", i+1), "U", "2   1500", x.Name)
			}
			line(p.Addr().String(), "link#1", "UHS", "3   16384", "lo0")
		}
	}
	return Reply{Out: b.String()}
}
