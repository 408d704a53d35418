package fsm

import "net/netip"

// LeaseGuests gives addresses to guests of one network, or prolongs their
// leases. What one of them cannot have is left out: the others get theirs.
// Whoever proposed it looks into the State that it led to.
type LeaseGuests struct {
	Network string     `json:"network"`
	Host    HostID     `json:"host"`   // whose router they asked
	Guests  []GuestAsk `json:"guests"` // 1 to 1024
}

// GuestAsk is one of them.
type GuestAsk struct {
	Addr     netip.Addr `json:"addr"`               // IPv4
	Client   string     `json:"client"`             // its MAC, or what it says it is in hex; 1 to 96 bytes of [a-z0-9:]
	MAC      string     `json:"mac"`                // for people
	Hostname string     `json:"hostname,omitempty"` // the name that it wants: one label
	Seconds  uint32     `json:"seconds"`            // from the entry's time on, at least 1
}

// EndGuests ends leases of guests in one network, or forgets them. What is no
// longer so is left out.
type EndGuests struct {
	Network string     `json:"network"`
	Host    HostID     `json:"host,omitempty"` // whose router was told; "" for what the clock ends
	Ends    []GuestEnd `json:"ends"`           // 1 to 1024
}

// GuestEnd is one of them.
type GuestEnd struct {
	Addr   netip.Addr `json:"addr"`
	Client string     `json:"client,omitempty"` // "" with GuestForget alone
	How    string     `json:"how"`
}

// How the lease of a guest ends.
const (
	GuestReleased = "released" // it said so
	GuestDeclined = "declined" // somebody else uses the address: nobody gets it for Probation
	GuestExpired  = "expired"  // its time is over
	GuestForget   = "forget"   // it ended GuestMemory ago, or Probation is over

	guestMoved = "moved" // it has got another address: this one rests as a declined one does
)

// Kind implements Command for each of them.
func (LeaseGuests) Kind() string { return "lease_guests" }
func (EndGuests) Kind() string   { return "end_guests" }
