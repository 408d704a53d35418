package fsm

import (
	"net/netip"
	"time"
)

// A guest is a machine that is no jail: it was plugged into a network and
// asked for an address by DHCP. Its leases are kept apart from those of jails,
// for they end by the clock, and nobody plans with them.

// Guest is the lease of a guest, or the memory of it: one per address.
type Guest struct {
	Network  string     `json:"network"`
	Addr     netip.Addr `json:"addr"`
	Client   string     `json:"client,omitempty"` // who it is, see GuestAsk; "" once it declined the address
	MAC      string     `json:"mac"`
	Hostname string     `json:"hostname,omitempty"` // its name in DNS; "": it has none, or another has that name
	Host     HostID     `json:"host"`               // whose router it asked last
	Expires  Time       `json:"expires"`            // it may use the address until then
	FreedAt  Time       `json:"freed_at,omitempty"` // not 0: it has ended, and the client gets it back as long as nobody else needs it
}

// Times of guests.
const (
	// Probation is how long an address is given to nobody after a guest found
	// that somebody uses it.
	Probation = 5 * time.Minute
	// GuestMemory is how long after its end a lease is remembered, so that the
	// guest gets the same address again.
	GuestMemory = 7 * 24 * time.Hour
)

// Live reports whether the guest has the address by now's reckoning of the log:
// a lease ends when an entry says so, or gives the address to another.
func (g *Guest) Live() bool { return g.FreedAt == 0 }

// FreeFor reports whether client may be given the address of g at now: its own
// it may have back at once, another's only when that is over and has rested.
func (g *Guest) FreeFor(client string, now Time) bool {
	switch {
	case g.Client != "" && g.Client == client:
		return true
	case g.Live():
		return now >= g.Expires.Add(RestTime)
	case g.Client == "":
		return now >= g.FreedAt.Add(Probation)
	}
	return now >= g.FreedAt.Add(RestTime)
}

// FQDN is the guest's name in DNS, "" if it has none.
func (g *Guest) FQDN(domain string) string {
	if g.Hostname == "" {
		return ""
	}
	return fqdn(g.Hostname, g.Network, domain)
}

const secGuests byte = 42

func clientKey(network, client string) string { return network + "/" + client }

// GuestOf is what is known of a client in a network: its lease, or the memory
// of it. Nil if it is a stranger.
func (s *State) GuestOf(network, client string) *Guest {
	g, _ := s.clients.Get(clientKey(network, client))
	return g
}

// GuestAt is who has, or last had, an address as a guest; nil if nobody.
func (s *State) GuestAt(network string, a netip.Addr) *Guest {
	g, _ := s.Guests.Get(LeaseKey(network, a))
	return g
}

// JailAt is the jail that has an address; "" if none has, or if it was released
// so long ago that others may have it.
func (s *State) JailAt(network string, a netip.Addr) (JailName, bool) {
	l, ok := s.Leases.Get(LeaseKey(network, a))
	if !ok || l.Jail == "" && l.rested(s.Now) {
		return "", false
	}
	return l.Jail, true
}
