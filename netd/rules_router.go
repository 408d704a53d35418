package netd

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// The rules of a router, in its own namespace.

// chainOf is a chain with its lines.
type chainOf struct {
	head  string // as chain takes it
	lines []line
}

func routerRules(table string, n plannedNetwork) string {
	var b strings.Builder
	beginTable(&b, "inet", table)
	for _, c := range routerChains(n) {
		chain(&b, c.head, texts(c.lines)...)
	}
	b.WriteString("}\n")
	return b.String()
}

func routerChains(n plannedNetwork) []chainOf {
	published, closed := routerPublish(n)
	chains := inetChains(n)
	return append(chains, []chainOf{
		{"publish: nat hook prerouting priority dstnat", append(published, inetPublish(n)...)},
		{"nat_out: nat hook postrouting priority srcnat", routerNAT(n)},
		{"between: filter hook forward priority filter", routerForward(n)},
		{"to_router: filter hook input priority filter", routerInput(n, closed)},
	}...)
}

// routerPublish leads published ports to their members, and opens or closes them at the router itself.
func routerPublish(n plannedNetwork) (dnat, input []line) {
	for _, p := range n.Publish {
		port, why := fmt.Sprintf("%s %d of this host", p.Proto, p.HostPort), publishWhy(p)
		if p.HTTP {
			input = append(input, line{fmt.Sprintf(`iifname "%s" %s dport %d accept`, nicUplink, p.Proto, p.HostPort),
				Rule{atRouter, "whoever reaches this host", memberText(p), "requests to " + port, "goes through a proxy, in turn", why}})
			continue
		}
		says := Rule{atRouter, "whoever reaches this host", memberText(p), port, "goes there, one connection each in turn", why}
		if len(p.Members)+len(p.Members6) == 0 {
			says.To, says.Then = "nobody", refused+": no healthy member"
		}
		to4, to6 := target(p.Members), target(p.Members6)
		if to4 != "" {
			dnat = append(dnat, line{fmt.Sprintf(`iifname "%s" ip daddr %s %s dport %d dnat ip to %s`, nicUplink, n.Uplink.Router, p.Proto, p.HostPort, to4), says})
		}
		if to6 != "" {
			dnat = append(dnat, line{fmt.Sprintf(`iifname "%s" ip6 daddr %s %s dport %d dnat ip6 to %s`, nicUplink, n.Uplink.Router6, p.Proto, p.HostPort, to6), says})
		}
		if to4 == "" || n.v6() && to6 == "" {
			closing := line{nft: closedPort(p)}
			if to4 == "" && to6 == "" {
				closing.says = says
			}
			input = append(input, closing)
		}
	}
	return dnat, input
}

func publishWhy(p Publish) string {
	why := "publish"
	if p.Name != "" {
		why += " " + p.Name
	}
	if p.Shared {
		why += ", shared"
	}
	return why
}

// routerNAT gives what leaves an address to which the answer can come. Without NAT that is only what the forward chain lets
// out: a jail that asks for a port that its own network publishes.
func routerNAT(n plannedNetwork) (out []line) {
	if n.NAT || len(n.Publish) > 0 {
		out = append(out, line{nft: fmt.Sprintf(`oifname "%s" ip saddr %s snat ip to %s`, nicUplink, n.Subnet, n.Uplink.Router)})
		if n.v6() {
			out = append(out, line{nft: fmt.Sprintf(`oifname "%s" ip6 saddr %s snat ip6 to %s`, nicUplink, n.Subnet6, n.Uplink.Router6)})
		}
	}
	out = append(out, inetNAT(n)...)
	for _, r := range meshRouter(n) {
		out = append(out, line{nft: r})
	}
	return out
}

func routerForward(n plannedNetwork) []line {
	out := []line{
		{nft: fmt.Sprintf(`oifname "%s" tcp flags syn tcp option maxseg size set rt mtu`, nicUplink)},
		{nft: "ct state established,related accept"},
		{nft: fmt.Sprintf(`iifname "%s" ct status dnat accept`, nicUplink)},
	}
	for _, p := range n.Peers {
		out = append(out, peerLines(p)...)
	}
	out = append(out, inetForward(n)...)
	if n.NAT {
		out = append(out, line{fmt.Sprintf(`iifname "%s" oifname "%s" accept`, nicLAN, nicUplink),
			Rule{atRouter, "jails", outside, any4, passes + ", behind this host's address", "nat"}})
	} else {
		for _, p := range n.Publish {
			out = append(out, line{fmt.Sprintf(`iifname "%s" oifname "%s" %s dport %d accept`, nicLAN, nicUplink, p.Proto, p.HostPort),
				Rule{atRouter, "jails", "this host", fmt.Sprintf("%s %d", p.Proto, p.HostPort), passes, "their own network publishes it"}})
		}
	}
	return append(out, line{"reject with icmpx admin-prohibited",
		Rule{atRouter, "jails, other networks, " + outside, "any other way", any4, refused, "networks are apart unless told otherwise"}})
}

// peerLines let connections between two networks through, in the directions that were allowed.
func peerLines(p peer) (out []line) {
	nic := peerName(p.ID)
	if p.In {
		lists := portLists(p.InPorts, "-")
		if len(lists) == 0 {
			lists = map[string][]string{"": nil}
		}
		for _, proto := range slices.Sorted(maps.Keys(lists)) {
			match, ports := "", strings.Join(lists[proto], ", ")
			says := Rule{atRouter, "jails of " + p.Name + " (" + subnets(p.Subnet, p.Subnet6) + ")", "jails", any4, passes, "allow " + p.Name}
			if proto != "" {
				match, says.What = fmt.Sprintf("%s dport { %s } ", proto, ports), proto+" "+ports
			}
			out = append(out, line{fmt.Sprintf(`iifname "%s" oifname "%s" ip saddr %s %saccept`, nic, nicLAN, p.Subnet, match), says})
			if p.Subnet6.IsValid() {
				out = append(out, line{fmt.Sprintf(`iifname "%s" oifname "%s" ip6 saddr %s %saccept`, nic, nicLAN, p.Subnet6, match), says})
			}
		}
	}
	if p.Out {
		what := any4
		if len(p.OutPorts) > 0 {
			what = "the ports that it allows"
		}
		out = append(out, line{fmt.Sprintf(`iifname "%s" oifname "%s" accept`, nicLAN, nic),
			Rule{atRouter, "jails", "jails of " + p.Name + " (" + subnets(p.Subnet, p.Subnet6) + ")", what, passes, p.Name + " allows it"}})
	}
	return out
}

func routerInput(n plannedNetwork, published []line) []line {
	out := []line{
		{nft: `iifname "lo" accept`},
		{nft: "ct state established,related accept"},
	}
	out = append(append(out, inetInput(n)...), []line{
		{fmt.Sprintf(`iifname "%s" accept`, nicLAN), Rule{atRouter, "jails", "the gateway", "names, addresses, echo requests", passes, "it serves them"}},
		{nft: "icmp type echo-request accept"},
		{nft: "icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert } accept"},
	}...)
	return append(append(out, published...), line{"drop", Rule{atRouter, outside, "the gateway", any4, dropped, "nothing but published ports is open"}})
}

// closedPort refuses a published port that has no member, as a host refuses a port at which nobody listens.
func closedPort(p Publish) string {
	with := "tcp reset"
	if p.Proto == "udp" {
		with = "icmpx port-unreachable"
	}
	return fmt.Sprintf(`iifname "%s" %s dport %d reject with %s`, nicUplink, p.Proto, p.HostPort, with)
}

// target writes where a published port goes: to its members in turn, one member per new connection.
func target(members []netip.AddrPort) string {
	switch len(members) {
	case 0:
		return ""
	case 1:
		return members[0].String()
	}
	return inTurn(members)
}

func inTurn(members []netip.AddrPort) string {
	var m []string
	for i, a := range members {
		m = append(m, fmt.Sprintf("%d : %s . %d", i, a.Addr(), a.Port()))
	}
	return fmt.Sprintf("numgen inc mod %d map { %s }", len(members), strings.Join(m, ", "))
}
