package netd

import (
	"fmt"
	"net/netip"
	"strings"
)

// bridgeRules writes the bridge table of the host: a jail sends from its own MAC and addresses, and is no DHCP server
// and no IPv6 router (cases 46 and 47). Ports that are not in the sets, a router's or another instance's, are let alone
// in what they send, but what foreign ones (a VM that somebody plugged in) send to our jails is looked at, too.
func bridgeRules(table string, pins []pin, nets []plannedNetwork) string {
	var b strings.Builder
	beginTable(&b, "bridge", table)
	text := map[string][]string{}
	for _, p := range pins {
		mac := fmt.Sprintf(`"%s" . %s`, p.Link, p.MAC)
		text[setPorts] = append(text[setPorts], `"`+p.Link+`"`)
		text[setMACs] = append(text[setMACs], mac)
		if p.Addr.IsValid() {
			text[setAddr4] = append(text[setAddr4], mac+" . "+p.Addr.String())
		}
		for _, a := range p.addrs6() {
			text[setAddr6] = append(text[setAddr6], mac+" . "+a.String())
			text[setND] = append(text[setND], mac+" . "+hex128(a))
		}
	}
	var routers, gateways []string
	for _, n := range nets {
		routers = append(routers, `"`+routerPort(n.ID)+`"`)
		gateways = append(gateways, n.Gateway().String(), n.HostAddr().String())
	}
	set(&b, setPorts, "type ifname", text[setPorts])
	set(&b, setMACs, "type ifname . ether_addr", text[setMACs])
	set(&b, setAddr4, "type ifname . ether_addr . ipv4_addr", text[setAddr4])
	set(&b, setAddr6, "type ifname . ether_addr . ipv6_addr", text[setAddr6])
	set(&b, setND, "typeof iifname . ether saddr . "+advertised, text[setND])
	set(&b, "routers", "type ifname", routers)
	set(&b, "gateways", "type ipv4_addr", gateways)
	for _, c := range guardChains(nets) {
		chain(&b, c.head, texts(c.lines)...)
	}
	segmentRules(&b, nets)
	b.WriteString("}\n")
	return b.String()
}

// advertised is the target of a neighbour advertisement or solicitation (RFC 4861, sections 4.3 and 4.4), which has no name
// in older versions of nft.
const advertised = "@th,64,128"

func hex128(a netip.Addr) string { return fmt.Sprintf("0x%x", a.As16()) }

// guardChains are the chains of the bridge table that say what may pass from port to port.
func guardChains(nets []plannedNetwork) []chainOf {
	six := false
	for _, n := range nets {
		six = six || n.v6()
	}
	drops := func(from, to, what, why string) Rule { return Rule{atBridge, from, to, what, dropped, why} }
	own := drops("a jail", "everybody", "frames with another MAC than its own", "no jail speaks for another")
	ip := drops("a jail", "everybody", "packets and ARP with another address than its own", "no jail takes another's address")
	dhcp := drops("a jail", "everybody", "answers of a DHCP server", "only the router answers DHCP")
	ra := Rule{}
	if six {
		ra = drops("a jail", "everybody", "router advertisements, redirects", "only the router is one")
	}
	foreign := drops("a port of somebody else on the bridge", "jails", "answers of a DHCP server, router advertisements, redirects, the gateway's address",
		"only the router is one")
	return []chainOf{
		{"from_jail: filter hook prerouting priority filter", []line{
			{nft: "iifname != @ports accept"},
			{"iifname . ether saddr != @macs counter drop", own},
			{nft: "ether type arp jump arp_of_jail"},
			{nft: "ether type ip jump ip_of_jail"},
			{nft: "ether type ip6 jump ip6_of_jail"},
			{"counter drop", drops("a jail", "everybody", "frames that are not ARP, IPv4 or IPv6", "nothing else is pinned")},
		}},
		{"arp_of_jail", []line{
			{"iifname . ether saddr . arp saddr ip != @addr4 counter drop", ip},
			{"iifname . arp saddr ether . arp saddr ip != @addr4 counter drop", ip},
			{nft: "accept"},
		}},
		{"ip_of_jail", []line{
			{"udp sport 67 counter drop", dhcp},
			{nft: "iifname . ether saddr . ip saddr @addr4 accept"},
			{nft: "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept"},
			{"counter drop", ip},
		}},
		{"ip6_of_jail", []line{
			{"udp sport 547 counter drop", dhcp},
			{"icmpv6 type { nd-router-advert, nd-redirect } counter drop", ra},
			{"icmpv6 type nd-neighbor-advert iifname . ether saddr . " + advertised + " != @nd6 counter drop", ip},
			{nft: "iifname . ether saddr . ip6 saddr @addr6 accept"},
			{nft: "ip6 saddr :: icmpv6 type nd-neighbor-solicit accept"},
			{"counter drop", ip},
		}},
		{"to_jail: filter hook forward priority filter", append([]line{
			{nft: "iifname @routers accept"},
			{nft: "iifname @ports accept"},
			{nft: "oifname != @ports accept"},
			{"udp sport 67 udp dport 68 counter drop", foreign},
			{"udp sport 547 udp dport 546 counter drop", foreign},
			{"icmpv6 type { nd-router-advert, nd-redirect } counter drop", foreign},
			{"arp saddr ip @gateways counter drop", foreign},
		}, gatewayLines(nets, foreign)...)},
	}
}

// gatewayLines keep the gateway's IPv6 address to the router.
func gatewayLines(nets []plannedNetwork, says Rule) (out []line) {
	for _, n := range nets {
		if !n.v6() {
			continue
		}
		for _, a := range valid(n.Gateway6(), n.HostAddr6()) {
			out = append(out, line{fmt.Sprintf("icmpv6 type nd-neighbor-advert %s %s counter drop", advertised, hex128(a)), says})
		}
	}
	return out
}
