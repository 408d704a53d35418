package spec

import (
	"errors"
	"fmt"
	"net/netip"
)

// Gateway is the first address of the subnet: the router's, on every host.
func (n Network) Gateway() netip.Addr { return nth(n.Subnet, 1) }

// HostAddr is the second address of the subnet, kept for the host's own end
// of the bridge (arp(8) on FreeBSD answers only for a subnet that the host
// has an address in).
func (n Network) HostAddr() netip.Addr { return nth(n.Subnet, 2) }

// Gateway6 is Gateway in Subnet6; the zero Addr where there is none.
func (n Network) Gateway6() netip.Addr { return nth(n.Subnet6, 1) }

// HostAddr6 is HostAddr in Subnet6; the zero Addr where there is none.
func (n Network) HostAddr6() netip.Addr { return nth(n.Subnet6, 2) }

func nth(p netip.Prefix, n int) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// PoolSize is how many IPv4 addresses of the network jails can have: all but
// the network's own, the gateway's, the host's and the broadcast address.
func (n Network) PoolSize() int64 {
	if !n.Subnet.IsValid() || !n.Subnet.Addr().Is4() {
		return 0
	}
	return max(int64(1)<<(32-n.Subnet.Bits())-4, 0)
}

// Assignable says why a jail cannot have the address a in n, or nil.
func (n Network) Assignable(a netip.Addr) error {
	p, gateway, host := n.Subnet, n.Gateway(), n.HostAddr()
	if a.Is6() {
		p, gateway, host = n.Subnet6, n.Gateway6(), n.HostAddr6()
		if !p.IsValid() {
			return fmt.Errorf("network %s has no subnet6", n.Name)
		}
	}
	switch {
	case a.Zone() != "" || a.Is4In6():
		return fmt.Errorf("the address %s has a zone or is an IPv4 address in IPv6 clothing", a)
	case !p.Contains(a):
		return fmt.Errorf("the address %s is not in %s, the subnet of network %s", a, p, n.Name)
	case a == gateway:
		return fmt.Errorf("the address %s is the gateway of network %s", a, n.Name)
	case a == host:
		return fmt.Errorf("the address %s is reserved for the host in network %s", a, n.Name)
	case a == p.Masked().Addr():
		return fmt.Errorf("the address %s is that of network %s itself", a, n.Name)
	case a.Is4() && a == lastAddr(p):
		return fmt.Errorf("the address %s is the broadcast address of network %s", a, n.Name)
	}
	return nil
}

// lastAddr is the highest address of an IPv4 prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// ValidSubnet says whether p can be the IPv4 subnet of a network: /8 to /29,
// no host bits, an ordinary unicast range.
func ValidSubnet(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errors.New("the subnet is missing or not ADDRESS/LENGTH")
	case !p.Addr().Is4():
		return fmt.Errorf("the subnet %s is not IPv4 (use subnet6 for IPv6)", p)
	case p.Masked() != p:
		return fmt.Errorf("the subnet %s has host bits set, write %s", p, p.Masked())
	case p.Bits() < 8 || p.Bits() > 29:
		return fmt.Errorf("the subnet %s is not between /8 and /29", p)
	}
	return validRange(p)
}

// ValidSubnet6 is ValidSubnet for IPv6: /48 to /120.
func ValidSubnet6(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errors.New("the subnet6 is not ADDRESS/LENGTH")
	case !p.Addr().Is6() || p.Addr().Is4In6():
		return fmt.Errorf("the subnet6 %s is not IPv6", p)
	case p.Masked() != p:
		return fmt.Errorf("the subnet6 %s has host bits set, write %s", p, p.Masked())
	case p.Bits() < 48 || p.Bits() > 120:
		return fmt.Errorf("the subnet6 %s is not between /48 and /120", p)
	}
	return validRange(p)
}

// notForJails are ranges with a meaning of their own (RFC 6890).
var notForJails = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

func validRange(p netip.Prefix) error {
	for _, q := range notForJails {
		if p.Overlaps(q) {
			return fmt.Errorf("the subnet %s is in %s, which is not for hosts (take one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fd00::/8)", p, q)
		}
	}
	return nil
}
