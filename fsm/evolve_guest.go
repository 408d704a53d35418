package fsm

import "net/netip"

// Where guests are: Guests by address, and clients by who they are, which
// follows from it. An address that a guest has or had is not free for jails.

func (t *txn) setGuest(g *Guest) {
	t.promote(g.Network, g.Addr)
	key := LeaseKey(g.Network, g.Addr)
	if old, ok := t.guests.get(key); ok && old.Client != g.Client {
		t.unlinkClient(old)
	}
	t.guests.put(key, g)
	if g.Client != "" {
		t.clients.put(clientKey(g.Network, g.Client), g)
	}
	t.notFree(g.Network, g.Addr)
}

// unlinkClient forgets where old's client was, unless it is elsewhere by now.
func (t *txn) unlinkClient(old *Guest) {
	k := clientKey(old.Network, old.Client)
	if at, ok := t.clients.get(k); ok && at.Addr == old.Addr {
		t.clients.del(k)
	}
}

func (t *txn) forgetGuest(network string, a netip.Addr) {
	key := LeaseKey(network, a)
	old, ok := t.guests.get(key)
	if !ok {
		return
	}
	t.unlinkClient(old)
	t.guests.del(key)
	if !t.keptFromJails(network, a) {
		t.free.put(freeKey(network, a), struct{}{})
	}
}

// notFree takes a out of what jails may choose from.
func (t *txn) notFree(network string, a netip.Addr) {
	if _, ok := t.free.get(freeKey(network, a)); ok {
		t.free.del(freeKey(network, a))
	}
	k := poolKey(network, a)
	if p, ok := t.pools.get(k); ok && p.next == a {
		p.next = t.nextUnused(network, p.next)
		t.pools.put(k, p)
	}
}

func (t *txn) keptFromJails(network string, a netip.Addr) bool {
	n, ok := t.networks.get(network)
	return ok && n.KeptFromJails(a)
}

// guestRecords are the DNS records of a live guest with a name.
func guestRecords(g *Guest, domain string) []*Record {
	name := g.FQDN(domain)
	if name == "" || !g.Live() {
		return nil
	}
	return []*Record{
		{Name: name, Type: "A", TTL: HostTTL, Addr: g.Addr, Network: g.Network},
		{Name: ReverseName(g.Addr), Type: "PTR", TTL: HostTTL, Target: name, Network: g.Network},
	}
}

// restoreGuests keeps those who are here now: a snapshot knows nothing of them,
// and what it says of guests is as old as itself. A jail that is back has its
// address and its name before any guest.
func (t *txn) restoreGuests(now Tree[*Guest], networks Tree[*Network]) {
	t.guests, t.clients = tableOf(Tree[*Guest]{}), tableOf(Tree[*Guest]{})
	for key, g := range now.All {
		n, ok := t.networks.get(g.Network)
		was, _ := networks.Get(g.Network)
		if _, taken := t.leases.get(key); !ok || taken || was == nil || n.Subnet != was.Subnet {
			continue
		}
		if _, named, _ := t.records.first(g.FQDN(t.s.Cluster.Domain) + "/"); g.Hostname != "" && named != nil {
			bare := *g
			bare.Hostname = ""
			g = &bare
		}
		t.setGuest(g)
		for _, r := range guestRecords(g, t.s.Cluster.Domain) {
			t.records.put(RecordKey(r), r)
		}
	}
	t.networks.each("", func(_ string, n *Network) bool {
		t.chooseAnew(n)
		return true
	})
}
