package netd

import (
	"fmt"
	"net/netip"
	"strings"
)

// pin is what one port of a bridge may send.
type pin struct {
	Link  string // host end
	MAC   MAC
	Addr  netip.Addr
	Addr6 netip.Addr // zero: no IPv6
}

// The sets of the bridge table.
const (
	setPorts = "ports" // interface name: the rules hold for this port
	setMACs  = "macs"  // interface name . MAC
	setAddr4 = "addr4" // interface name . MAC . IPv4
	setAddr6 = "addr6" // interface name . MAC . IPv6
)

var pinSets = []string{setPorts, setMACs, setAddr4, setAddr6}

// pinKeys returns the elements of each set as the kernel holds them: an interface name takes 16 bytes, every field of
// a concatenation is padded to a multiple of 4.
func pinKeys(pins []pin) map[string][][]byte {
	keys := map[string][][]byte{}
	for _, p := range pins {
		link := make([]byte, 16, 40)
		copy(link[:15], p.Link)
		mac := append(link[:16:16], p.MAC[0], p.MAC[1], p.MAC[2], p.MAC[3], p.MAC[4], p.MAC[5], 0, 0)
		keys[setPorts] = append(keys[setPorts], link)
		keys[setMACs] = append(keys[setMACs], mac)
		if p.Addr.IsValid() {
			keys[setAddr4] = append(keys[setAddr4], append(mac[:24:24], p.Addr.AsSlice()...))
		}
		for _, a := range p.addrs6() {
			keys[setAddr6] = append(keys[setAddr6], append(mac[:24:24], a.AsSlice()...))
		}
	}
	return keys
}

// addrs6 holds the address of the port and the link-local one that the kernel derives from its MAC, without which
// neighbour discovery does not work.
func (p pin) addrs6() []netip.Addr {
	if !p.Addr6.IsValid() {
		return nil
	}
	return []netip.Addr{p.Addr6, linkLocal(p.MAC)}
}

// bridgeRules writes the bridge table of the host: a jail sends from its own MAC and addresses, and is no DHCP server
// and no IPv6 router (cases 46 and 47). Ports that are not in the sets, a router's or another instance's, are let alone.
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
		}
	}
	set(&b, setPorts, "ifname", text[setPorts])
	set(&b, setMACs, "ifname . ether_addr", text[setMACs])
	set(&b, setAddr4, "ifname . ether_addr . ipv4_addr", text[setAddr4])
	set(&b, setAddr6, "ifname . ether_addr . ipv6_addr", text[setAddr6])
	chain(&b, "from_jail: filter hook prerouting priority filter",
		"iifname != @ports accept",
		"iifname . ether saddr != @macs counter drop",
		"ether type arp jump arp_of_jail",
		"ether type ip jump ip_of_jail",
		"ether type ip6 jump ip6_of_jail",
		"counter drop")
	chain(&b, "arp_of_jail",
		"iifname . ether saddr . arp saddr ip != @addr4 counter drop",
		"iifname . arp saddr ether . arp saddr ip != @addr4 counter drop",
		"accept")
	chain(&b, "ip_of_jail",
		"udp sport 67 counter drop",
		"iifname . ether saddr . ip saddr @addr4 accept",
		"ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
		"counter drop")
	chain(&b, "ip6_of_jail",
		"udp sport 547 counter drop",
		"icmpv6 type { nd-router-advert, nd-redirect } counter drop",
		"iifname . ether saddr . ip6 saddr @addr6 accept",
		"ip6 saddr :: icmpv6 type nd-neighbor-solicit accept",
		"counter drop")
	segmentRules(&b, nets)
	b.WriteString("}\n")
	return b.String()
}

func comparePins(a, b pin) int { return strings.Compare(a.Link, b.Link) }
