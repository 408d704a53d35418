package netd

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The functions here write what pfctl(8) reads: pure, so that every rule is reviewed in testdata. A text is loaded whole, in
// one transaction. The syntax is the classic one, which FreeBSD 12 to 15 take (nat and rdr rules of their own; no match,
// nat-to or rdr-to), in pf's order: options, tables, scrub, translation, filter. For nat and rdr the first rule that
// matches wins, for filters the last one, unless it says quick; here all say so but the default at the top.
// All names are ours or checked; nothing a user wrote gets here.

// pfText is one ruleset: rules that stay while members change, and the members.
type pfText struct {
	Options string // none in an anchor
	Rules   string
	Tables  []pfTable // sorted by name
}

// pfTable holds the members of a published port.
type pfTable struct {
	Name  string // at most 31 bytes
	Addrs []netip.Addr
}

// String is the whole text.
func (t pfText) String() string {
	var b strings.Builder
	b.WriteString(t.Options)
	for _, table := range t.Tables {
		fmt.Fprintf(&b, "table <%s> persist { %s }\n", table.Name, joinAddrs(table.Addrs))
	}
	b.WriteString(t.Rules)
	return b.String()
}

func joinAddrs(addrs []netip.Addr) string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, ", ")
}

// pfRules collects lines.
type pfRules struct{ strings.Builder }

func (r *pfRules) add(format string, args ...any) { fmt.Fprintf(r, format+"\n", args...) }

// each writes a rule for IPv4, and for IPv6 where the network has it; %[1]s is inet or inet6.
func (r *pfRules) each(n plannedNetwork, rule string, args func(v6 bool) []any) {
	r.add(rule, append([]any{"inet"}, args(false)...)...)
	if n.v6() {
		r.add(rule, append([]any{"inet6"}, args(true)...)...)
	}
}

func (n plannedNetwork) subnet(v6 bool) netip.Prefix {
	if v6 {
		return n.Subnet6
	}
	return n.Subnet
}

func (n plannedNetwork) gateway(v6 bool) netip.Addr {
	if v6 {
		return n.Gateway6()
	}
	return n.Gateway()
}

func (n plannedNetwork) hostAddr(v6 bool) netip.Addr {
	if v6 {
		return n.HostAddr6()
	}
	return n.HostAddr()
}

func (u uplink) host(v6 bool) netip.Addr {
	if v6 {
		return u.Host6
	}
	return u.Host
}

func (u uplink) router(v6 bool) netip.Addr {
	if v6 {
		return u.Router6
	}
	return u.Router
}

// hostAnchor writes the rules of one network for its anchor in the host's pf: NAT and published ports towards outside (the
// interface of the host's default route, "" when there is none), and no path from one network to another. Where bridged is
// true pf also sees the frames that a bridge carries (net.link.bridge.pfil_*), those between a jail and its router, and
// cannot tell them from packets that the host routes: they pass, and what keeps networks apart is the routers' rules alone.
func hostAnchor(n plannedNetwork, outside string, bridged bool) pfText {
	var r pfRules
	bridge, up := bridgeName(n.ID), uplinkName(n.ID)
	if n.NAT && outside != "" {
		r.each(n, "nat on %[2]s %[1]s from %[3]s to any -> (%[2]s:0)", func(v6 bool) []any { return []any{outside, n.Uplink.router(v6)} })
	}
	for _, p := range n.Publish {
		if outside != "" {
			r.add("rdr pass on %s inet proto %s from any to (%s) port %d -> %s port %d", outside, p.Proto, outside, p.HostPort, n.Uplink.Router, p.HostPort)
		}
	}
	r.each(n, "pass out quick on %[2]s %[1]s from %[3]s to %[4]s keep state", func(v6 bool) []any {
		return []any{bridge, n.hostAddr(v6), n.subnet(v6)}
	})
	r.add("pass in quick on %s inet proto icmp from %s to %s icmp-type echoreq keep state", bridge, n.Subnet, n.HostAddr())
	if n.v6() {
		r.add("pass quick on %s inet6 proto icmp6 all icmp6-type { neighbrsol, neighbradv } no state", freebsdGroup)
		r.add("pass in quick on %s inet6 proto icmp6 from %s to %s icmp6-type echoreq keep state", bridge, n.Subnet6, n.HostAddr6())
	}
	r.each(n, "block return in quick on %[2]s %[1]s from any to %[3]s", func(v6 bool) []any { return []any{bridge, n.hostAddr(v6)} })
	r.each(n, "pass quick on %[2]s %[1]s from %[3]s to %[3]s no state", func(v6 bool) []any { return []any{freebsdGroup, n.subnet(v6)} })
	if bridged {
		r.each(n, "pass quick on %[2]s %[1]s from %[3]s to any no state", func(v6 bool) []any { return []any{freebsdGroup, n.subnet(v6)} })
		r.each(n, "pass quick on %[2]s %[1]s from any to %[3]s no state", func(v6 bool) []any { return []any{freebsdGroup, n.subnet(v6)} })
	}
	r.add("block return quick on %s all", bridge)
	for _, p := range n.Publish {
		r.add("pass out quick on %s inet proto %s from any to %s port %d keep state", up, p.Proto, n.Uplink.Router, p.HostPort)
	}
	r.each(n, "pass out quick on %[2]s %[1]s from %[3]s to %[4]s keep state", func(v6 bool) []any {
		return []any{up, n.Uplink.host(v6), n.Uplink.router(v6)}
	})
	if n.NAT {
		r.each(n, "pass in quick on %[2]s %[1]s from %[3]s to any keep state", func(v6 bool) []any { return []any{up, n.Uplink.router(v6)} })
	}
	r.add("block return quick on %s all", up)
	return pfText{Rules: r.String()}
}

// routerText writes the whole ruleset of a router, in its own vnet. others are the subnets of the host's other networks and
// the range of uplinks: its jails reach none of them through the outside.
func routerText(n plannedNetwork, others []netip.Prefix) pfText {
	var r pfRules
	lan, out := lanName(n.ID), outName(n.ID)
	r.add("scrub on %s max-mss %d", out, min(n.mtu(), 1500)-60)
	if n.NAT {
		r.each(n, "nat on %[2]s %[1]s from %[3]s to any -> (%[2]s:0)", func(v6 bool) []any { return []any{out, n.subnet(v6)} })
	}
	t := pfText{Options: "set skip on lo0\n"}
	for _, p := range n.Publish {
		table, port, ok := members(p)
		if !ok {
			continue
		}
		t.Tables = append(t.Tables, table)
		r.add("rdr pass on %s inet proto %s from any to %s port %d -> <%s> port %d round-robin", out, p.Proto, n.Uplink.Router, p.HostPort, table.Name, port)
	}
	slices.SortFunc(t.Tables, func(a, b pfTable) int { return strings.Compare(a.Name, b.Name) })
	r.add("block return all")
	r.each(n, "pass in quick on %[2]s %[1]s from %[3]s to %[4]s keep state", func(v6 bool) []any {
		return []any{lan, n.subnet(v6), n.gateway(v6)}
	})
	r.add("pass in quick on %s inet proto udp from any port 68 to any port 67 keep state", lan)
	if n.v6() {
		r.add("pass quick inet6 proto icmp6 all icmp6-type { neighbrsol, neighbradv } no state")
		r.add("pass in quick on %s inet6 proto icmp6 from any to any icmp6-type echoreq keep state", out)
	}
	r.add("pass in quick on %s inet proto icmp from any to %s icmp-type echoreq keep state", out, n.Uplink.Router)
	for _, p := range n.Peers {
		r.peer(n, p)
	}
	for _, p := range others {
		r.add("block return in quick on %s from any to %s", lan, p)
	}
	if n.NAT {
		r.each(n, "pass in quick on %[2]s %[1]s from %[3]s to any keep state", func(v6 bool) []any { return []any{lan, n.subnet(v6)} })
	}
	r.add("pass out quick all keep state")
	t.Rules = r.String()
	return t
}

// peer lets connections between two networks through, in the directions that were allowed.
func (r *pfRules) peer(n plannedNetwork, p peer) {
	six := n.v6() && p.Subnet6.IsValid()
	if p.In {
		r.between(peerEnd(n.ID, p.ID), p.Subnet, n.Subnet, "inet", p.InPorts)
		if six {
			r.between(peerEnd(n.ID, p.ID), p.Subnet6, n.Subnet6, "inet6", p.InPorts)
		}
	}
	if p.Out {
		r.between(lanName(n.ID), n.Subnet, p.Subnet, "inet", p.OutPorts)
		if six {
			r.between(lanName(n.ID), n.Subnet6, p.Subnet6, "inet6", p.OutPorts)
		}
	}
}

// between passes what comes in by nic, to some ports or to all.
func (r *pfRules) between(nic string, from, to netip.Prefix, family string, ports []Ports) {
	if len(ports) == 0 {
		r.add("pass in quick on %s %s from %s to %s keep state", nic, family, from, to)
		return
	}
	lists := portLists(ports, ":")
	for _, proto := range slices.Sorted(maps.Keys(lists)) {
		r.add("pass in quick on %s %s proto %s from %s to %s port { %s } keep state", nic, family, proto, from, to, strings.Join(lists[proto], ", "))
	}
}

// members is the table of a published port. A pool of pf has one port; should members differ in theirs, those of the port
// that most of them have are taken, the lowest of such.
func members(p Publish) (t pfTable, port uint16, ok bool) {
	count := map[uint16]int{}
	for _, m := range p.Members {
		count[m.Port()]++
		if c := count[m.Port()]; c > count[port] || c == count[port] && m.Port() < port {
			port = m.Port()
		}
	}
	t.Name = "pub_" + p.Proto + "_" + strconv.Itoa(int(p.HostPort))
	for _, m := range p.Members {
		if m.Port() == port {
			t.Addrs = append(t.Addrs, m.Addr())
		}
	}
	slices.SortFunc(t.Addrs, netip.Addr.Compare)
	t.Addrs = slices.Compact(t.Addrs)
	return t, port, len(t.Addrs) > 0
}
