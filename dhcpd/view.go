package dhcpd

import (
	"net/netip"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// View is what an answer is made from. It is a value: nothing in it changes
// while it is used.
type View struct {
	State   *fsm.State
	Network *fsm.Network
	Host    fsm.HostID // that answers
	Now     fsm.Time
	MTU     int // of the network's interfaces; 0: not told

	Known  *Known
	Offers *Offers     // nil: nobody was offered anything
	Scan   func() bool // asked before a long search for a free address; nil: never
}

// Known is what can be looked up about a network, made once for many packets.
type Known struct {
	jails    map[string]*fsm.Lease    // by MAC
	services map[string]bool          // a guest may not pass for one that has no healthy member now
	hosts    map[string]spec.DHCPHost // reservations, by MAC
	reserved map[netip.Addr]string    // their MACs
}

// NewKnown looks at all jails and leases of a network.
func NewKnown(s *fsm.State, n *fsm.Network) *Known {
	k := &Known{jails: map[string]*fsm.Lease{}, services: map[string]bool{}, hosts: map[string]spec.DHCPHost{}, reserved: map[netip.Addr]string{}}
	for _, l := range s.Leases.Prefix(n.Name + "/") {
		if l.Jail != "" && l.Addr.Is4() {
			k.jails[l.MAC] = l
		}
	}
	for _, j := range s.Jails.All {
		for _, a := range j.Addrs {
			if a.Network != n.Name {
				continue
			}
			for _, svc := range j.Spec.Services {
				k.services[svc.Name] = true
			}
		}
	}
	if n.DHCP != nil {
		for _, h := range n.DHCP.Hosts {
			k.hosts[h.MAC], k.reserved[h.Addr] = h, h.MAC
		}
	}
	return k
}

// server is who we are to clients: the gateway, on every host.
func (v *View) server() netip.Addr { return v.Network.Gateway }

// reservation is the address that the wish keeps for a MAC, with its name.
func (v *View) reservation(mac string) (a netip.Addr, name string) {
	h := v.Known.hosts[mac]
	return h.Addr, h.Name
}

// offersAt reports whether r may have a at all: in a range, or its own by
// reservation, and not another's.
func (v *View) offersAt(r *Request, a netip.Addr) bool {
	if mac, reserved := v.Known.reserved[a]; reserved {
		return mac == r.MAC
	}
	for _, r := range v.Network.DHCPRanges() {
		if r.Contains(a) {
			return v.Network.Assignable(a) == nil
		}
	}
	return false
}

// free reports whether client could have a now; fresh, that nobody ever had
// it as far as is known.
func (v *View) free(client string, a netip.Addr) (ok, fresh bool) {
	if _, jail := v.State.JailAt(v.Network.Name, a); jail {
		return false, false
	}
	if v.Offers.taken(a, client, v.Now) {
		return false, false
	}
	g := v.State.GuestAt(v.Network.Name, a)
	return g == nil || g.FreeFor(client, v.Now), g == nil
}
