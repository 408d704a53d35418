package spec

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// DHCP says how a network serves guests: machines that are plugged into its
// bridge and ask for an address, instead of being given one as jails are.
type DHCP struct {
	Off        bool          `json:"off,omitempty"`
	Ranges     []AddrRange   `json:"ranges,omitempty"` // in order; jails get none of them; none: the upper half of the subnet
	Lease      time.Duration `json:"lease,omitempty"`  // MinLease..MaxLease; 0 is DefaultLease
	Hosts      []DHCPHost    `json:"hosts,omitempty"`  // reservations, sorted by Name
	DNS        []netip.Addr  `json:"dns,omitempty"`    // none: the gateway
	NTP        []netip.Addr  `json:"ntp,omitempty"`
	Search     []string      `json:"search,omitempty"`     // none: NETWORK.DOMAIN and DOMAIN
	Routes     []DHCPRoute   `json:"routes,omitempty"`     // beside the default route
	NextServer netip.Addr    `json:"next_server,omitzero"` // who has Bootfile, for PXE
	Bootfile   string        `json:"bootfile,omitempty"`   // at most 127 bytes
	MTU        int           `json:"mtu,omitempty"`        // 576..9216; 0: the network's own
}

// DHCPHost is a guest that always gets the same address.
type DHCPHost struct {
	Name string     `json:"name"` // its name in DNS, whatever it calls itself
	MAC  string     `json:"mac"`  // aa:bb:cc:dd:ee:ff, lower case
	Addr netip.Addr `json:"addr"`
}

// DHCPRoute is one that guests are told, by option 121 (RFC 3442).
type DHCPRoute struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via"` // in the subnet
}

// AddrRange is First and Last and all between.
type AddrRange struct {
	First netip.Addr `json:"first"`
	Last  netip.Addr `json:"last"`
}

// Bounds of DHCP.
const (
	DefaultLease = time.Hour
	MinLease     = 10 * time.Second
	MaxLease     = 30 * 24 * time.Hour

	maxRanges    = 16
	maxDHCPHosts = 4096
	maxDHCPList  = 8 // DNS, NTP, Search, Routes: each must fit into one small packet together
)

// Contains says whether a is in r.
func (r AddrRange) Contains(a netip.Addr) bool {
	return a.Is4() && !a.Less(r.First) && !r.Last.Less(a)
}

// Size is how many addresses r has.
func (r AddrRange) Size() int64 { return int64(number4(r.Last)) - int64(number4(r.First)) + 1 }

// At is the address i after First, 0 <= i < Size.
func (r AddrRange) At(i int64) netip.Addr { return addr4(number4(r.First) + uint32(i)) }

// String is FIRST-LAST.
func (r AddrRange) String() string { return r.First.String() + "-" + r.Last.String() }

// ParseAddrRange reads FIRST-LAST or one address.
func ParseAddrRange(s string) (AddrRange, error) {
	first, last, two := strings.Cut(s, "-")
	a, err := netip.ParseAddr(strings.TrimSpace(first))
	b := a
	if err == nil && two {
		b, err = netip.ParseAddr(strings.TrimSpace(last))
	}
	if err != nil || !a.Is4() || !b.Is4() {
		return AddrRange{}, fmt.Errorf("%q is not FIRST-LAST, two IPv4 addresses", clip(s))
	}
	return AddrRange{a, b}, nil
}

// DHCPRanges are where guests without a reservation get their addresses; none
// if the network serves no guests.
func (n Network) DHCPRanges() []AddrRange {
	switch {
	case n.DHCP != nil && n.DHCP.Off, !n.Subnet.IsValid() || !n.Subnet.Addr().Is4():
		return nil
	case n.DHCP != nil && len(n.DHCP.Ranges) > 0:
		return n.DHCP.Ranges
	}
	size := uint32(1) << (32 - n.Subnet.Bits())
	base := number4(n.Subnet.Masked().Addr())
	return []AddrRange{{addr4(base + size/2), addr4(base + size - 2)}}
}

// KeptFromJails says whether a is for guests alone: in a range that the user
// wrote, or reserved for one of them. The default range is not: who never
// heard of DHCP can fill the subnet with jails.
func (n Network) KeptFromJails(a netip.Addr) bool {
	_, kept := n.KeptUntil(a)
	return kept
}

// KeptUntil is KeptFromJails with the last address of the range that a is in.
func (n Network) KeptUntil(a netip.Addr) (last netip.Addr, kept bool) {
	if n.DHCP == nil || n.DHCP.Off || !a.Is4() {
		return netip.Addr{}, false
	}
	for _, r := range n.DHCP.Ranges {
		if r.Contains(a) {
			return r.Last, true
		}
	}
	for _, h := range n.DHCP.Hosts {
		if h.Addr == a {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// LeaseTime is how long a guest may use its address without asking again.
func (n Network) LeaseTime() time.Duration {
	if n.DHCP == nil || n.DHCP.Lease == 0 {
		return DefaultLease
	}
	return n.DHCP.Lease
}

// ParseMAC reads six bytes in hex with colons or dashes and returns them in
// lower case with colons. Group addresses are refused.
func ParseMAC(s string) (string, error) {
	t := strings.ToLower(strings.ReplaceAll(s, "-", ":"))
	ok := len(t) == 17
	for i := range len(t) {
		if i%3 == 2 {
			ok = ok && t[i] == ':'
		} else {
			ok = ok && strings.IndexByte("0123456789abcdef", t[i]) >= 0
		}
	}
	if !ok {
		return "", fmt.Errorf("%q is not a MAC address as 52:54:00:12:34:56", clip(s))
	}
	if strings.IndexByte("13579bdf", t[1]) >= 0 || t == "00:00:00:00:00:00" {
		return "", errors.New("a group's or empty MAC address is nobody's")
	}
	return t, nil
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
