package netd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The functions here write the text that nft(8) reads: pure, so that every rule is reviewed in testdata. Each text first
// deletes our table and then makes it whole, which nft does as one transaction: packets meet the old rules or the new
// ones. All names in it are ours (hex ids, fixed words) or checked by Network.check; nothing a user wrote gets here.

// uplink is the pair of addresses between a router and the host.
type uplink struct {
	Host, Router   netip.Addr // neighbours in a /31
	Host6, Router6 netip.Addr // neighbours in a /127
}

// plannedNetwork is a Network with what this host chose for it.
type plannedNetwork struct {
	Network
	Uplink  uplink
	Publish []Publish // without those whose port is taken on the host
	Peers   []peer    // networks of this host to which its router has a link
	Trunk   string    // NIC that carries VLAN, if that is not 0
	Mesh    *Mesh     // nil: the network ends at this host, or goes on by a VLAN
}

// peer is another network from the view of one router.
type peer struct {
	Name, ID        string
	Subnet, Subnet6 netip.Prefix
	Gateway         netip.Addr
	Gateway6        netip.Addr
	In              bool    // its jails may connect to ours
	Out             bool    // our jails may connect to its
	InPorts         []Ports // only to these; none: to all
	OutPorts        []Ports
}

func (n plannedNetwork) v6() bool { return n.Subnet6.IsValid() }

// quoted writes names as the elements of a set.
func quoted(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// set writes a set; nft has no text for "elements = { }".
func set(b *strings.Builder, name, typ string, elements []string) {
	fmt.Fprintf(b, "\tset %s {\n\t\t%s\n", name, typ)
	if len(elements) > 0 {
		fmt.Fprintf(b, "\t\telements = { %s }\n", strings.Join(elements, ", "))
	}
	b.WriteString("\t}\n")
}

func chain(b *strings.Builder, head string, rules ...string) {
	name, hook, base := strings.Cut(head, ": ")
	fmt.Fprintf(b, "\tchain %s {\n", name)
	if base {
		fmt.Fprintf(b, "\t\ttype %s; policy accept;\n", hook)
	}
	for _, r := range rules {
		if r != "" {
			fmt.Fprintf(b, "\t\t%s\n", r)
		}
	}
	b.WriteString("\t}\n")
}

func beginTable(b *strings.Builder, family, name string) {
	fmt.Fprintf(b, "table %s %s {\n}\ndelete table %s %s\ntable %s %s {\n", family, name, family, name, family, name)
}

// dropTables is the text that removes both tables of an instance, there or not.
func dropTables(table string) string {
	var b strings.Builder
	for _, family := range []string{"inet", "bridge"} {
		fmt.Fprintf(&b, "table %s %s {\n}\ndelete table %s %s\n", family, table, family, table)
	}
	return b.String()
}

// hostRules writes the inet table of the host: no path between networks, masquerade for uplinks, published ports to
// their router. fenced are the interfaces between which nothing was forwarded before we turned forwarding on.
func hostRules(table string, nets []plannedNetwork, fenced fences) string {
	var b strings.Builder
	beginTable(&b, "inet", table)
	var bridges, uplinks, nat, inside []string
	for _, n := range nets {
		br, up := bridgeName(n.ID), uplinkName(n.ID)
		bridges, uplinks = append(bridges, `"`+br+`"`), append(uplinks, `"`+up+`"`)
		inside = append(inside, fmt.Sprintf(`"%s" . "%s"`, br, br))
		if n.NAT {
			nat = append(nat, fmt.Sprintf(`"%s" . %s`, up, n.Uplink.Router))
		}
	}
	var nat6, routers, routers6 []string
	for _, n := range nets {
		routers = append(routers, n.Uplink.Router.String())
		if n.v6() {
			routers6 = append(routers6, n.Uplink.Router6.String())
		}
		if n.NAT && n.v6() {
			nat6 = append(nat6, fmt.Sprintf(`"%s" . %s`, uplinkName(n.ID), n.Uplink.Router6))
		}
	}
	set(&b, "bridges", "type ifname", bridges)
	set(&b, "uplinks", "type ifname", uplinks)
	set(&b, "inside", "type ifname . ifname", inside)
	set(&b, "nat", "type ifname . ipv4_addr", nat)
	set(&b, "nat6", "type ifname . ipv6_addr", nat6)
	set(&b, "routers", "type ipv4_addr", routers)
	set(&b, "routers6", "type ipv6_addr", routers6)
	published := texts(hostPublish(nets))

	// route_localnet is on for uplinks (published ports on 127.0.0.1): a router must not reach the host's loopback by it.
	chain(&b, "guard: filter hook prerouting priority raw", "iifname @uplinks ip daddr 127.0.0.0/8 drop")
	chain(&b, "publish: nat hook prerouting priority dstnat",
		append([]string{"iifname @bridges return"}, published...)...)
	chain(&b, "publish_local: nat hook output priority -100", published...)
	chain(&b, "masquerade_out: nat hook postrouting priority srcnat", postrouting(nets)...)
	chain(&b, "forward_all: filter hook forward priority filter - 10", slices.Concat(
		[]string{"iifname . oifname @inside accept"}, // only when br_netfilter shows us bridged frames
		meshForward(nets),
		[]string{
			"iifname @bridges reject with icmpx admin-prohibited",
			"oifname @bridges reject with icmpx admin-prohibited",
			"iifname @uplinks jump from_router",
			"oifname @uplinks jump to_router",
			fence("meta nfproto ipv4", fenced.Four),
			fence("meta nfproto ipv6", fenced.Six),
		})...)
	chain(&b, "from_router",
		`oifname "`+prefixUplink+`*" ct status dnat accept`, // a jail asks for a published port
		`oifname "`+prefixUplink+`*" reject with icmpx admin-prohibited`,
		`oifname "`+prefixBridge+`*" reject with icmpx admin-prohibited`,
		"ct state established,related accept",
		"iifname . ip saddr @nat accept",
		"iifname . ip6 saddr @nat6 accept",
		"reject with icmpx admin-prohibited")
	chain(&b, "to_router", "ct state established,related accept", "ct status dnat accept", "drop")
	meshChains(&b, nets)
	chain(&b, "to_host: filter hook input priority filter - 10", append(meshInput(nets),
		"iifname @bridges ct state established,related accept",
		"iifname @bridges icmp type echo-request accept",
		"iifname @bridges icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert } accept",
		"iifname @bridges reject with icmpx admin-prohibited",
		"iifname @uplinks ct state established,related accept",
		"iifname @uplinks icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
		"iifname @uplinks iifname . ip saddr @nat accept",
		"iifname @uplinks iifname . ip6 saddr @nat6 accept",
		"iifname @uplinks reject with icmpx admin-prohibited")...)
	b.WriteString("}\n")
	return b.String()
}

func postrouting(nets []plannedNetwork) []string {
	rules := []string{
		"oifname @uplinks ip saddr 127.0.0.0/8 masquerade", // the host asks a published port on its loopback
		"oifname @uplinks ip saddr @routers masquerade",    // a jail asks for one: the answer has to come back by the host
		"oifname @uplinks ip6 saddr @routers6 masquerade",
	}
	for _, n := range nets {
		if n.NAT {
			rules = append(rules, fmt.Sprintf(`ip saddr %s oifname != "%s" masquerade`, n.Uplink.Router, uplinkName(n.ID)))
			if n.v6() {
				rules = append(rules, fmt.Sprintf(`ip6 saddr %s oifname != "%s" masquerade`, n.Uplink.Router6, uplinkName(n.ID)))
			}
		}
	}
	return append(rules, meshPostrouting(nets)...)
}

// fences are the interfaces between which our rules forbid forwarding, because we alone made it possible.
type fences struct{ Four, Six []string }

func fence(family string, links []string) string {
	if len(links) < 2 {
		return ""
	}
	slices.Sort(links)
	return fmt.Sprintf("%s iifname { %s } oifname { %s } drop", family, quoted(links), quoted(links))
}
