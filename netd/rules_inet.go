package netd

import "fmt"

// The rules of a router that has an address of its own outside. Its own default route leads there; what came by way of the
// host has to go back that way, so such connections carry a mark, for which a table of its own holds the way back.
const (
	markHost  = 0x1 // of connections that came from the host
	tableHost = 101 // with the way back to it
)

func inetChains(n plannedNetwork) []chainOf {
	if n.Inet == "" {
		return nil
	}
	return []chainOf{
		{"from_host: filter hook prerouting priority mangle", []line{
			{nft: fmt.Sprintf(`iifname "%s" ct state new ct mark set %#x`, nicUplink, markHost)},
			{nft: fmt.Sprintf(`iifname "%s" ct mark %#x meta mark set %#x`, nicLAN, markHost, markHost)},
		}},
		{"to_host: route hook output priority mangle", []line{ // answers of a proxy
			{nft: fmt.Sprintf(`ct mark %#x meta mark set %#x`, markHost, markHost)},
		}},
	}
}

// inetPublish leads published ports of the router's own address to their members.
func inetPublish(n plannedNetwork) (out []line) {
	if n.Inet == "" {
		return nil
	}
	for _, p := range n.Publish {
		if to := target(p.Members); to != "" && !p.HTTP {
			out = append(out, line{nft: fmt.Sprintf(`iifname "%s" fib daddr type local %s dport %d dnat ip to %s`, nicInet, p.Proto, p.HostPort, to)})
		}
	}
	return out
}

func inetNAT(n plannedNetwork) []line {
	if n.Inet == "" {
		return nil
	}
	return []line{{nft: fmt.Sprintf(`oifname "%s" ip saddr %s masquerade`, nicInet, n.Subnet)}}
}

func inetForward(n plannedNetwork) []line {
	if n.Inet == "" {
		return nil
	}
	return []line{
		{nft: fmt.Sprintf(`oifname "%s" tcp flags syn tcp option maxseg size set rt mtu`, nicInet)},
		{nft: fmt.Sprintf(`iifname "%s" ct status dnat accept`, nicInet)},
		{fmt.Sprintf(`iifname "%s" oifname "%s" accept`, nicLAN, nicInet),
			Rule{atRouter, "jails", outside, any4, passes + ", behind the router's own address on " + n.Inet, "nat"}},
	}
}

// inetInput leaves nothing open to the outside but the proxy's ports. DHCP's client reads below these rules.
func inetInput(n plannedNetwork) (out []line) {
	if n.Inet == "" {
		return nil
	}
	for _, p := range n.Publish {
		if p.HTTP {
			out = append(out, line{nft: fmt.Sprintf(`iifname "%s" %s dport %d accept`, nicInet, p.Proto, p.HostPort)})
		}
	}
	return append(out, line{fmt.Sprintf(`iifname "%s" drop`, nicInet),
		Rule{atRouter, outside, "the router's own address on " + n.Inet, any4, dropped, "nothing but published ports is open"}})
}
