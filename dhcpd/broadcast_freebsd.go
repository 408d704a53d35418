package dhcpd

import (
	"net/netip"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// broadcastTo is the address by which all of n are reached, see ipOnesBcast.
func broadcastTo(n *fsm.Network) netip.Addr { return lastOf(n.Subnet) }
