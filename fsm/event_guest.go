package fsm

import "net/netip"

// The events about guests.
type (
	// GuestLeased: the guest has the address until Expires, or a jail took its name.
	GuestLeased struct {
		Guest *Guest `json:"guest"`
	}
	// GuestFreed: it no longer has, and is remembered.
	GuestFreed struct {
		Guest *Guest `json:"guest"`
		How   string `json:"how"`
	}
	// GuestForgotten: nothing is known of it any more.
	GuestForgotten struct {
		Network string     `json:"network"`
		Addr    netip.Addr `json:"addr"`
		Reason  string     `json:"reason"`
	}
)

// Kind implements Event for each of them: its name for ever.
func (GuestLeased) Kind() string    { return "guest_leased" }
func (GuestFreed) Kind() string     { return "guest_freed" }
func (GuestForgotten) Kind() string { return "guest_forgotten" }

// Object implements Event: noun, blank, name.
func (e GuestLeased) Object() string    { return "lease " + e.Guest.Network + "/" + e.Guest.Addr.String() }
func (e GuestFreed) Object() string     { return "lease " + e.Guest.Network + "/" + e.Guest.Addr.String() }
func (e GuestForgotten) Object() string { return "lease " + e.Network + "/" + e.Addr.String() }

// Why implements Event: the reason for people.
func (e GuestLeased) Why() string {
	why := "for guest " + e.Guest.MAC
	if e.Guest.Hostname != "" {
		why += " (" + e.Guest.Hostname + ")"
	}
	return why + " until " + e.Guest.Expires.Time().Format("2006-01-02T15:04:05Z")
}
func (e GuestFreed) Why() string     { return e.How + " by guest " + e.Guest.MAC }
func (e GuestForgotten) Why() string { return e.Reason }

func (e GuestLeased) evolve(t *txn) { t.setGuest(e.Guest) }
func (e GuestFreed) evolve(t *txn)  { t.setGuest(e.Guest) }

func (e GuestForgotten) evolve(t *txn) { t.forgetGuest(e.Network, e.Addr) }
