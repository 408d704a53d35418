package netd

import (
	"fmt"
	"hash/fnv"
	"strconv"
)

// Interface names of FreeBSD: like Linux's, but for the ends inside, which cannot be called eth0: the ends of two dead
// jails would come home under one name. All are 11 characters and end in a digit.
const (
	prefixLAN    = "rl" // router: side of the network
	prefixOut    = "rv" // router: side of the host
	prefixInside = "rj" // jail: its end

	markPeer = "peer"
)

func lanName(netID string) string              { return prefixLAN + netID + "0" }
func outName(netID string) string              { return prefixOut + netID + "0" }
func insideName(jailID string, nic int) string { return prefixInside + jailID + strconv.Itoa(nic) }

// peerEnd is the name, in the router of network id, of its link to the router of other. Both ends are on the host for a
// moment, so they have names of their own.
func peerEnd(id, other string) string {
	lo, hi, side := id, other, 0
	if other < id {
		lo, hi, side = other, id, 1
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(lo + hi))
	return fmt.Sprintf("%s%08x%d", prefixPeer, h.Sum32(), side)
}

// jailHolder is the name of the vnet jail of a jail; of "", what all of them begin with.
func (d *freebsd) jailHolder(id string) string { return "rexn-" + d.o.Instance + "-" + id }

// routerHolder is the name of the vnet jail of a network's router.
func (d *freebsd) routerHolder(netID string) string { return "rexr-" + d.o.Instance + "-" + netID }
