package netd

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Interface names: a prefix of two letters, 8 hex digits, one digit; Linux allows 15 characters.
const (
	prefixBridge  = "rb" // host: bridge of a network
	prefixRouter  = "rr" // host: bridge port of a router
	prefixUplink  = "ru" // host: uplink of a router
	prefixJail    = "rh" // host: bridge port of a jail
	prefixGone    = "rx" // host: a jail's port whose namespace is about to vanish
	prefixSegment = "rs" // host: VLAN of a network
	prefixPeer    = "rp" // router: link to another network's router

	nicLAN    = "lan"    // router: side of the network
	nicUplink = "uplink" // router: side of the host
	nicInet   = "inet"   // router: side of the outside, where it has an address of its own
)

// InetNIC is the name of a router's interface outside, in its namespace.
const InetNIC = nicInet

func bridgeName(netID string) string         { return prefixBridge + netID + "0" }
func routerPort(netID string) string         { return prefixRouter + netID + "0" }
func uplinkName(netID string) string         { return prefixUplink + netID + "0" }
func segmentName(netID string) string        { return prefixSegment + netID + "0" }
func peerName(otherID string) string         { return prefixPeer + otherID + "0" }
func jailPort(jailID string, nic int) string { return prefixJail + jailID + strconv.Itoa(nic) }

func tableName(instance string) string { return "rexcarcer_" + instance }

// MAC is an Ethernet address; the zero value means none.
type MAC [6]byte

// String returns the usual form, such as 02:00:1a:2b:3c:4d.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText writes the usual form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the usual form.
func (m *MAC) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMAC(string(b))
	return err
}

// ParseMAC reads six hex pairs with colons between them.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	if len(s) != 17 || strings.Count(s, ":") != 5 {
		return MAC{}, fmt.Errorf("%q is not a MAC such as 02:00:1a:2b:3c:4d", s)
	}
	if n, err := hex.Decode(m[:], []byte(strings.ReplaceAll(s, ":", ""))); err != nil || n != 6 {
		return MAC{}, fmt.Errorf("%q is not a MAC such as 02:00:1a:2b:3c:4d", s)
	}
	return m, nil
}

// MACOf returns the locally administered MAC of interface nic of the object with this id (8 hex digits): the same at
// every start and on every host.
func MACOf(id string, nic int) MAC {
	m := MAC{0x02, byte(nic)}
	_, _ = hex.Decode(m[2:], []byte(id)) // ids are checked where they come in
	return m
}

// Second bytes of the MACs of a network's own interfaces; jails have 0..9.
const (
	macGateway    = 0xf0
	macBridge     = 0xf1
	macUplinkHost = 0xf2
	macUplink     = 0xf3
	macPeer       = 0xf4
)

// peerMAC differs on both ends of a link between two routers.
func peerMAC(from, to string) MAC {
	m := MACOf(from, macPeer)
	if from < to {
		m[1]++
	}
	return m
}

// linkLocal is the address that the kernel derives from a MAC (RFC 4291, appendix A).
func linkLocal(m MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// mark is what a link's alias says: whose it is, and for a jail's port what is pinned to it, so that the rules can be
// written again from the links alone.
type mark struct {
	Instance string
	Network  string // id, 8 hex digits
	Jail     string // id, or one of the words below
	MAC      MAC
	Addr     netip.Addr
	Addr6    netip.Addr
}

const (
	markPrefix  = "rexcarcer:"
	markBridge  = "bridge"
	markRouter  = "router"
	markUplink  = "uplink"
	markGone    = "gone" // a jail's former link
	markSegment = "segment"
	markMesh    = "mesh" // in the place of the network: netd/mesh makes that device
)

func (m mark) String() string {
	s := markPrefix + m.Instance + ":" + m.Network + ":" + m.Jail
	if m.MAC != (MAC{}) {
		s += " " + m.MAC.String() + " " + m.Addr.String()
	}
	if m.Addr6.IsValid() {
		s += " " + m.Addr6.String()
	}
	return s
}

// parseMark reads an alias; ok is false when it is not one of rexcarcer's.
func parseMark(alias string) (m mark, ok bool) {
	rest, ok := strings.CutPrefix(alias, markPrefix)
	if !ok {
		return mark{}, false
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return mark{}, false
	}
	who := strings.Split(fields[0], ":")
	if len(who) != 3 {
		return mark{}, false
	}
	m = mark{Instance: who[0], Network: who[1], Jail: who[2]}
	if len(fields) >= 3 {
		mac, err := ParseMAC(fields[1])
		addr, err2 := netip.ParseAddr(fields[2])
		if err != nil || err2 != nil {
			return mark{}, false
		}
		m.MAC, m.Addr = mac, addr
	}
	if len(fields) >= 4 {
		addr6, err := netip.ParseAddr(fields[3])
		if err != nil {
			return mark{}, false
		}
		m.Addr6 = addr6
	}
	return m, true
}
