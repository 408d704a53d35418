package netd

import (
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
	setND    = "nd6"   // the same, for the address that a neighbour advertisement speaks of
)

var pinSets = []string{setPorts, setMACs, setAddr4, setAddr6, setND}

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
			key := append(mac[:24:24], a.AsSlice()...)
			keys[setAddr6], keys[setND] = append(keys[setAddr6], key), append(keys[setND], key)
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

func comparePins(a, b pin) int { return strings.Compare(a.Link, b.Link) }
