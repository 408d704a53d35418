package netd

import (
	"fmt"
	"net/netip"
)

// hostPublish leads published ports of this host to their routers. A port leads to its router whether it has members or not:
// who they are is the router's business alone, so a change of them is one transaction in one table. Where several
// networks share a port, each router gets as many turns as it has members.
func hostPublish(nets []plannedNetwork) (out []line) {
	done := map[string]bool{}
	for _, n := range nets {
		for _, p := range n.Publish {
			if done[portKeyOf(p)] {
				continue
			}
			done[portKeyOf(p)] = true
			says := Rule{atHost, "whoever reaches this host", "the router of " + n.Name, fmt.Sprintf("%s %d of this host", p.Proto, p.HostPort),
				"goes there, the client's address kept", publishWhy(p)}
			four, six := turns(nets, p)
			out = append(out, line{fmt.Sprintf("fib daddr type local %s dport %d dnat ip to %s", p.Proto, p.HostPort, target(four)), says})
			if len(six) > 0 { // the kernel lets nothing of ::1 leave by another interface
				out = append(out, line{fmt.Sprintf("fib daddr type local ip6 daddr != ::1 %s dport %d dnat ip6 to %s", p.Proto, p.HostPort, target(six)), says})
			}
		}
	}
	return out
}

// turns are the routers of a port, each as often as is its share.
func turns(nets []plannedNetwork, p Publish) (four, six []netip.AddrPort) {
	type share struct{ four, six int }
	var owners []plannedNetwork
	var shares []share
	for _, n := range nets {
		for _, o := range n.Publish {
			if portKeyOf(o) == portKeyOf(p) {
				owners = append(owners, n)
				shares = append(shares, share{len(o.Members), len(o.Members6)})
			}
		}
	}
	var fours, sixes []int
	for i, n := range owners {
		fours = append(fours, shares[i].four)
		if !n.v6() {
			shares[i].six = 0
		}
		sixes = append(sixes, shares[i].six)
	}
	for _, i := range dealt(fours) {
		four = append(four, netip.AddrPortFrom(owners[i].Uplink.Router, p.HostPort))
	}
	for _, i := range dealt(sixes) {
		if owners[i].v6() {
			six = append(six, netip.AddrPortFrom(owners[i].Uplink.Router6, p.HostPort))
		}
	}
	return four, six
}

// maxTurns bounds the map of one port in the kernel.
const maxTurns = 128

// dealt names each index as often as its weight says, in a row, at most maxTurns in all. Without any weight it is the first.
func dealt(weights []int) (out []int) {
	all, common := 0, 0
	for _, w := range weights {
		all += w
		for w != 0 { // greatest common divisor
			common, w = w, common%w
		}
	}
	if all == 0 || len(weights) == 1 {
		return []int{0}
	}
	for i, w := range weights {
		turns := w / common
		if all/common > maxTurns && w > 0 {
			turns = max(w*maxTurns/all, 1)
		}
		for range turns {
			out = append(out, i)
		}
	}
	return out
}
