package uplink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Lease is what a server gave.
type Lease struct {
	Addr    netip.Prefix // with the subnet's length
	Gateway netip.Addr   // zero: there is none
	Server  netip.Addr
	Life    time.Duration // from the ACK on
	Renew   time.Duration // T1, before Life
}

// Times of a lease.
const (
	leastLife = 2 * time.Second // shorter ones would be spent on asking
	mostLife  = 365 * 24 * time.Hour
)

// leaseOf reads an ACK and refuses what cannot be used. It is pure.
func leaseOf(ack *dhcpv4.DHCPv4) (l Lease, err error) {
	addr, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || !addr.IsGlobalUnicast() {
		return l, fmt.Errorf("the server gave the address %v", ack.YourIPAddr)
	}
	bits, _ := ack.SubnetMask().Size()
	if bits < 8 || bits > 32 {
		return l, fmt.Errorf("the server gave %s the mask %v", addr, net.IP(ack.SubnetMask()))
	}
	l.Addr = netip.PrefixFrom(addr, bits)
	l.Gateway = gatewayOf(ack)
	l.Server, _ = netip.AddrFromSlice(ack.ServerIdentifier().To4())
	switch l.Life = ack.IPAddressLeaseTime(0); {
	case l.Life == 0:
		return l, errors.New("the server did not say how long the lease lasts")
	case l.Life < leastLife:
		return l, fmt.Errorf("the server leases %s for %s only", addr, l.Life)
	}
	l.Life = min(l.Life, mostLife) // all ones is for ever
	if l.Renew = ack.IPAddressRenewalTime(l.Life / 2); l.Renew <= 0 || l.Renew >= l.Life {
		l.Renew = l.Life / 2
	}
	return l, nil
}

// gatewayOf is the default route of option 121, which replaces option 3 where both are there (RFC 3442).
func gatewayOf(ack *dhcpv4.DHCPv4) netip.Addr {
	if routes := ack.ClasslessStaticRoute(); len(routes) > 0 {
		for _, r := range routes {
			if ones, _ := r.Dest.Mask.Size(); ones == 0 {
				a, _ := netip.AddrFromSlice(r.Router.To4())
				return a
			}
		}
		return netip.Addr{}
	}
	if routers := ack.Router(); len(routers) > 0 {
		a, _ := netip.AddrFromSlice(routers[0].To4())
		return a
	}
	return netip.Addr{}
}

// clash is the first of others that the lease's subnet meets.
func (l Lease) clash(others []netip.Prefix) error {
	for _, o := range others {
		if o.Overlaps(l.Addr.Masked()) {
			return fmt.Errorf("the lease %s meets %s, which the router has on its other side: give the network another subnet", l.Addr, o)
		}
	}
	return nil
}
