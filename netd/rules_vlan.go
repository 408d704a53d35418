package netd

import (
	"fmt"
	"strings"
)

// The rules for networks that a VLAN carries between hosts. The hosts share one segment there, and each has the same gateway
// and the same address of its own on it. Both stay at home: nothing of them, and nothing to them, passes between the bridge and
// the VLAN. So each jail has the router of its own host, and no router has to be chosen and moved.

// segmentRules write the chains of the bridge table for n's segment.
func segmentRules(b *strings.Builder, nets []plannedNetwork) {
	var in, out []string
	for _, n := range nets {
		if n.VLAN == 0 {
			continue
		}
		in = append(in, fmt.Sprintf(`iifname "%s" jump segment_%s`, segmentName(n.ID), n.ID))
		out = append(out, fmt.Sprintf(`oifname "%s" jump segment_%s`, segmentName(n.ID), n.ID))
	}
	if len(in) == 0 {
		return
	}
	chain(b, "from_segment: filter hook prerouting priority filter - 1", in...)
	chain(b, "to_segment: filter hook postrouting priority filter", out...)
	for _, n := range nets {
		if n.VLAN == 0 {
			continue
		}
		macs := fmt.Sprintf("{ %s, %s }", MACOf(n.ID, macGateway), MACOf(n.ID, macBridge))
		addrs := fmt.Sprintf("{ %s, %s }", n.Gateway(), n.HostAddr())
		rules := []string{
			"ether saddr " + macs + " drop",
			"ether daddr " + macs + " drop",
			"arp saddr ip " + addrs + " drop",
			"arp daddr ip " + addrs + " drop",
		}
		if n.v6() {
			// The target of a solicitation (RFC 4861, section 4.3) has no name in older versions of nft.
			for _, a := range valid(n.Gateway6(), n.HostAddr6()) {
				rules = append(rules, fmt.Sprintf("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } @th,64,128 0x%x drop", a.As16()))
			}
		}
		chain(b, "segment_"+n.ID, rules...)
	}
}
