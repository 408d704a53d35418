package netd

import (
	"fmt"
	"strings"
)

// The rules for what goes to other hosts and comes from them; see docs/design/overlay.md. Who may send from an address
// is not decided here: the mesh lets through only what the host sent that has the address.
//
// Two addresses of a network are on every host, the gateway's and the host's, so an answer to them would not find its way
// back. A connection from outside of the network to a jail elsewhere (by a published port, by Allow) therefore comes
// from the gateway (router), is given the host's own address on the mesh (host), and comes from the address of the
// jail's host there. Between jails of one network nothing is translated.

func meshed(nets []plannedNetwork) (out []plannedNetwork) {
	for _, n := range nets {
		if n.Mesh != nil {
			out = append(out, n)
		}
	}
	return out
}

// meshForward sends what passes between bridges and the mesh through the chain of its network, and refuses the rest.
func meshForward(nets []plannedNetwork) []string {
	nets = meshed(nets)
	if len(nets) == 0 {
		return nil
	}
	var jumps []string
	for _, n := range nets {
		jumps = append(jumps, fmt.Sprintf(`"%s" : jump mesh_%s`, bridgeName(n.ID), n.ID))
	}
	dev, all := nets[0].Mesh.Device, strings.Join(jumps, ", ")
	return []string{
		fmt.Sprintf(`oifname "%s" iifname vmap { %s }`, dev, all),
		fmt.Sprintf(`iifname "%s" oifname vmap { %s }`, dev, all),
		fmt.Sprintf(`iifname "%s" reject with icmpx admin-prohibited`, dev),
		fmt.Sprintf(`oifname "%s" reject with icmpx admin-prohibited`, dev),
	}
}

// meshChains write what a network lets pass: its own addresses, and connections that another host brings.
func meshChains(b *strings.Builder, nets []plannedNetwork) {
	for _, n := range meshed(nets) {
		rules := []string{
			"ct state established,related accept",
			fmt.Sprintf("ip saddr %s ip daddr %s accept", n.Subnet, n.Subnet),
			fmt.Sprintf(`iifname "%s" ip saddr %s ip daddr %s accept`, n.Mesh.Device, n.Mesh.All, n.Subnet),
		}
		if n.v6() {
			rules = append(rules, fmt.Sprintf("ip6 saddr %s ip6 daddr %s accept", n.Subnet6, n.Subnet6))
			if n.Mesh.Addr6.IsValid() {
				rules = append(rules, fmt.Sprintf(`iifname "%s" ip6 saddr %s ip6 daddr %s accept`, n.Mesh.Device, n.Mesh.All6, n.Subnet6))
			}
		}
		chain(b, "mesh_"+n.ID, rules...)
	}
}

// meshPostrouting gives connections an address to which the answer can come.
func meshPostrouting(nets []plannedNetwork) (rules []string) {
	for _, n := range meshed(nets) {
		m := n.Mesh
		rules = append(rules, fmt.Sprintf(`oifname "%s" ip saddr %s snat ip to %s`, m.Device, n.Gateway(), m.Addr),
			fmt.Sprintf(`oifname "%s" ip saddr %s snat ip to %s`, bridgeName(n.ID), m.All, n.HostAddr()))
		if n.v6() && m.Addr6.IsValid() {
			rules = append(rules, fmt.Sprintf(`oifname "%s" ip6 saddr %s snat ip6 to %s`, m.Device, n.Gateway6(), m.Addr6),
				fmt.Sprintf(`oifname "%s" ip6 saddr %s snat ip6 to %s`, bridgeName(n.ID), m.All6, n.HostAddr6()))
		}
	}
	return rules
}

// meshInput lets other hosts ask for an echo, and nothing else: the mesh is for jails.
func meshInput(nets []plannedNetwork) []string {
	nets = meshed(nets)
	if len(nets) == 0 {
		return nil
	}
	dev := nets[0].Mesh.Device
	return []string{
		fmt.Sprintf(`iifname "%s" ct state established,related accept`, dev),
		fmt.Sprintf(`iifname "%s" icmp type echo-request accept`, dev),
		fmt.Sprintf(`iifname "%s" icmpv6 type echo-request accept`, dev),
		fmt.Sprintf(`iifname "%s" reject with icmpx admin-prohibited`, dev),
	}
}

// meshRouter makes connections to jails elsewhere come from the gateway. They are told by their route: it leads by the
// host's address (Reach), where jails of this host are neighbours.
func meshRouter(n plannedNetwork) (rules []string) {
	if n.Mesh == nil {
		return nil
	}
	rules = append(rules, fmt.Sprintf(`oifname "%s" ip saddr != %s rt ip nexthop %s snat ip to %s`, nicLAN, n.Subnet, n.HostAddr(), n.Gateway()))
	if n.v6() {
		rules = append(rules, fmt.Sprintf(`oifname "%s" ip6 saddr != %s rt ip6 nexthop %s snat ip6 to %s`, nicLAN, n.Subnet6, n.HostAddr6(), n.Gateway6()))
	}
	return rules
}
