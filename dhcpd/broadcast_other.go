//go:build !freebsd

package dhcpd

import (
	"net/netip"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// broadcastTo is the address by which all of a network are reached.
func broadcastTo(*fsm.Network) netip.Addr { return everybody }
