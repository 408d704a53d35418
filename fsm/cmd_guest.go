package fsm

import (
	"net/netip"
	"strings"
	"time"
)

// Bounds of one entry about guests.
const (
	maxGuests = 1024
	maxClient = 96
)

func (c LeaseGuests) decide(t *txn) *Refusal {
	n, r := t.guestNetwork(c.Network, c.Host, len(c.Guests))
	if r != nil {
		return r
	}
	for _, g := range c.Guests {
		if !validClient(g.Client) || len(g.MAC) > 64 || g.Seconds == 0 || !validGuestName(g.Hostname) {
			return refuse(CodeInvalid, "network "+n.Name, "guest %.64q: want a client of 1 to %d bytes, a MAC address, a time and a name of one label or none", g.Client, maxClient)
		}
	}
	for i := range c.Guests {
		t.leaseGuest(n, c.Host, &c.Guests[i])
	}
	return nil
}

func (t *txn) guestNetwork(network string, host HostID, count int) (*Network, *Refusal) {
	n, ok := t.networks.get(network)
	switch {
	case !ok || n.Gone:
		return nil, refuse(CodeNotFound, "network "+network, "is not there, so that it has no guests")
	case !speaksFor(t.by, host):
		return nil, refuse(CodeFenced, "network "+network, "%s cannot speak for host %s", t.by, host)
	case count < 1 || count > maxGuests:
		return nil, refuse(CodeInvalid, "network "+network, "%d guests in one entry, 1 to %d are allowed", count, maxGuests)
	}
	return n, nil
}

// leaseGuest gives g its address, if nobody else has it.
func (t *txn) leaseGuest(n *Network, host HostID, g *GuestAsk) {
	if !g.Addr.Is4() || n.Assignable(g.Addr) != nil {
		return
	}
	key := LeaseKey(n.Name, g.Addr)
	if l, ok := t.leases.get(key); ok && (l.Jail != "" || !l.rested(t.s.Now)) {
		return
	}
	old, had := t.guests.get(key)
	if had && !old.FreeFor(g.Client, t.s.Now) {
		return
	}
	if had && old.Client != g.Client && old.Live() { // its time was over, and nobody had said so
		t.freeGuest(old, GuestExpired)
		old, _ = t.guests.get(key)
	}
	if elsewhere, ok := t.clients.get(clientKey(n.Name, g.Client)); ok && elsewhere.Addr != g.Addr {
		t.freeGuest(elsewhere, guestMoved)
	}
	var before []*Record
	if had && old.Client == g.Client {
		before = guestRecords(old, t.s.Cluster.Domain)
	}
	now := &Guest{
		Network: n.Name, Addr: g.Addr, Client: g.Client, MAC: g.MAC, Hostname: g.Hostname, Host: host,
		Expires: t.s.Now.Add(time.Duration(g.Seconds) * time.Second),
	}
	if now.MAC == now.Client { // a hundred thousand of them share one text each
		now.MAC = now.Client
	}
	if !t.mayBeNamed(now) {
		now.Hostname = ""
	}
	t.emit(GuestLeased{now})
	t.syncRecords(before, guestRecords(now, t.s.Cluster.Domain))
}

// mayBeNamed: a name is that of the jail, group or guest who has it.
func (t *txn) mayBeNamed(g *Guest) bool {
	if g.Hostname == "" {
		return true
	}
	if _, jail := t.jails.get(g.Hostname); jail {
		return false
	}
	if _, group := t.group(g.Hostname); group {
		return false
	}
	name := g.FQDN(t.s.Cluster.Domain)
	free := true
	t.records.each(name+"/", func(_ string, r *Record) bool {
		free = r.Jail == "" && r.Addr == g.Addr // its own, from before
		return free
	})
	return free
}

// freeGuest ends the lease of g and takes it out of DNS.
func (t *txn) freeGuest(g *Guest, how string) {
	now := *g
	if g.Live() {
		now.FreedAt = t.s.Now
	}
	if how == GuestDeclined || how == guestMoved { // a client is in one place only, so that what is known of it follows from Guests
		now.Client = ""
	}
	t.emit(GuestFreed{&now, how})
	t.syncRecords(guestRecords(g, t.s.Cluster.Domain), nil)
}

func (c EndGuests) decide(t *txn) *Refusal {
	n, r := t.guestNetwork(c.Network, c.Host, len(c.Ends))
	if r != nil {
		return r
	}
	for _, e := range c.Ends {
		switch e.How {
		case GuestReleased, GuestDeclined, GuestExpired, GuestForget:
		default:
			return refuse(CodeInvalid, "network "+n.Name, "there is no end %.32q of a guest's lease", e.How)
		}
	}
	for _, e := range c.Ends {
		g, ok := t.guests.get(LeaseKey(n.Name, e.Addr))
		switch {
		case !ok || g.Client != e.Client:
		case e.How == GuestForget:
			if !g.Live() && t.s.Now >= g.forgetAt() {
				t.emit(GuestForgotten{n.Name, g.Addr, "it ended long ago"})
			}
		case !g.Live(), e.How == GuestExpired && t.s.Now < g.Expires:
		default:
			t.freeGuest(g, e.How)
		}
	}
	return nil
}

// forgetAt is when a lease that has ended is no longer remembered.
func (g *Guest) forgetAt() Time {
	if g.Client == "" {
		return g.FreedAt.Add(Probation)
	}
	return g.FreedAt.Add(GuestMemory)
}

// dropGuests forgets all guests of a network whose subnet goes. It walks over
// them: a subnet changes or goes once in a long while.
func (t *txn) dropGuests(network string) {
	var all []*Guest
	t.guests.each(network+"/", func(_ string, g *Guest) bool {
		all = append(all, g)
		return true
	})
	for _, g := range all {
		t.syncRecords(guestRecords(g, t.s.Cluster.Domain), nil)
		t.emit(GuestForgotten{network, g.Addr, "its subnet is gone"})
	}
}

// unnameGuest takes a name from the guest that has it: a jail is called so now.
func (t *txn) unnameGuest(r *Record) {
	if t.guests.n == 0 || r.Type != "A" && r.Type != "AAAA" {
		return
	}
	_, theirs, ok := t.records.first(r.Name + "/A///")
	if !ok {
		return
	}
	g, ok := t.guests.get(LeaseKey(theirs.Network, theirs.Addr))
	if !ok {
		return
	}
	bare := *g
	bare.Hostname = ""
	t.syncRecords(guestRecords(g, t.s.Cluster.Domain), nil)
	t.emit(GuestLeased{&bare})
}

// validClient: what dhcpd makes of a MAC address or a client id.
func validClient(s string) bool {
	return s != "" && len(s) <= maxClient && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789:") == ""
}

// validGuestName: one label of RFC 1123, or none.
func validGuestName(s string) bool {
	return s == "" || len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && s[0] != '-' && s[len(s)-1] != '-'
}

// GuestsDue lists what the clock ends by now, at most one entry's worth per
// network: the leader proposes it. It walks over all guests.
func GuestsDue(s *State, now Time) []EndGuests {
	var due []EndGuests
	for _, g := range s.Guests.All {
		end := GuestEnd{Addr: g.Addr, Client: g.Client}
		switch {
		case g.Live() && now >= g.Expires:
			end.How = GuestExpired
		case !g.Live() && now >= g.forgetAt():
			end.How = GuestForget
		default:
			continue
		}
		if n := len(due); n == 0 || due[n-1].Network != g.Network {
			due = append(due, EndGuests{Network: g.Network})
		}
		if last := &due[len(due)-1]; len(last.Ends) < maxGuests {
			last.Ends = append(last.Ends, end)
		}
	}
	return due
}

// guestHolds says which guest keeps a from a jail now, nil if none does.
func (t *txn) guestHolds(network string, a netip.Addr) *Guest {
	g, ok := t.guests.get(LeaseKey(network, a))
	if !ok || !g.Live() && g.FreeFor("", t.s.Now) {
		return nil
	}
	return g
}
