package fsm

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// RestTime is how long a released address is kept from others: caches of its
// old meaning (ARP, DNS, connections) die out first.
const RestTime = 60 * time.Second

// Leases say everything. What follows only finds the lowest free address
// without a walk over all of them, and is rebuilt from Leases on restore:
//
//	pools    network + family -> lowest address that was never granted
//	free     LeaseKey of addresses that were granted once and are free again
//	resting  network, family, FreedAt, address -> LeaseKey: oldest first
//	lasts    network, family, jail -> LeaseKey of the address that it had
type pool struct {
	next netip.Addr // not in Leases
	live int        // leases that a jail has
}

func poolKey(network string, a netip.Addr) string {
	if a.Is4() {
		return network + "/4"
	}
	return network + "/6"
}

func restKey(l *Lease) string {
	a := l.Addr.As16()
	key := append([]byte(poolKey(l.Network, l.Addr)), '/')
	key = binary.BigEndian.AppendUint64(key, uint64(l.FreedAt))
	return string(append(key, a[:]...))
}

func lastKey(network string, a netip.Addr, j JailName) string {
	return poolKey(network, a) + "/" + string(j)
}

// rested reports whether l may be given to others at now.
func (l *Lease) rested(now Time) bool { return now >= l.FreedAt.Add(RestTime) }

func (t *txn) grant(l *Lease) {
	t.promote(l.Network, l.Addr)
	t.forgetGuest(l.Network, l.Addr)
	key := LeaseKey(l.Network, l.Addr)
	old, had := t.leases.get(key)
	if had && old.Jail == "" {
		t.resting.del(restKey(old))
		t.forget(old, key)
	}
	if _, ok := t.free.get(freeKey(l.Network, l.Addr)); ok {
		t.free.del(freeKey(l.Network, l.Addr))
	}
	t.leases.put(key, l)
	p, _ := t.pools.get(poolKey(l.Network, l.Addr))
	if !had || old.Jail == "" {
		p.live++
	}
	p.next = t.nextUnused(l.Network, p.next)
	t.pools.put(poolKey(l.Network, l.Addr), p)
}

// nextUnused is the lowest address from a on that is not in Leases, nor a
// guest's, nor kept for guests.
func (t *txn) nextUnused(network string, a netip.Addr) netip.Addr {
	n, _ := t.networks.get(network)
	for a.IsValid() {
		key := LeaseKey(network, a)
		if _, taken := t.leases.get(key); taken {
			a = a.Next()
			continue
		}
		if _, taken := t.guests.get(key); taken {
			a = a.Next()
			continue
		}
		if n == nil {
			break
		}
		last, kept := n.KeptUntil(a)
		if !kept {
			break
		}
		a = last.Next()
	}
	return a
}

func (t *txn) release(l *Lease) {
	key := LeaseKey(l.Network, l.Addr)
	old, had := t.leases.get(key)
	if !had || old.Jail == "" {
		return
	}
	t.leases.put(key, l)
	t.resting.put(restKey(l), key)
	t.lasts.put(lastKey(l.Network, l.Addr, l.Last), key)
	p, _ := t.pools.get(poolKey(l.Network, l.Addr))
	p.live--
	t.pools.put(poolKey(l.Network, l.Addr), p)
}

// promote moves what has rested long enough to free. Now never falls, so each
// lease is moved once: constant cost per release.
func (t *txn) promote(network string, family netip.Addr) {
	var done []*Lease
	t.eachRested(network, family, func(l *Lease) { done = append(done, l) })
	for _, l := range done {
		key := LeaseKey(l.Network, l.Addr)
		t.resting.del(restKey(l))
		t.leases.del(key)
		t.forget(l, key)
		if !t.keptFromJails(l.Network, l.Addr) {
			t.free.put(freeKey(l.Network, l.Addr), struct{}{})
		}
	}
}

func (t *txn) eachRested(network string, family netip.Addr, f func(*Lease)) {
	t.resting.each(poolKey(network, family)+"/", func(_ string, key string) bool {
		l, ok := t.leases.get(key)
		if !ok || !l.rested(t.s.Now) {
			return false
		}
		f(l)
		return true
	})
}

// forget drops the memory of who had l, unless that jail has a newer one.
func (t *txn) forget(l *Lease, key string) {
	k := lastKey(l.Network, l.Addr, l.Last)
	if have, ok := t.lasts.get(k); ok && have == key {
		t.lasts.del(k)
	}
}

func freeKey(network string, a netip.Addr) string {
	b := a.As16()
	return poolKey(network, a) + "/" + string(b[:])
}

func (t *txn) setNetwork(n *Network) {
	old, ok := t.networks.get(n.Name)
	t.networks.put(n.Name, n)
	switch {
	case !ok || old.Subnet != n.Subnet:
		t.newPool(n.Name, n.HostAddr)
	case !sameJSON(old.DHCP, n.DHCP):
		t.chooseAnew(n)
	}
	switch {
	case ok && old.Subnet6 == n.Subnet6:
	case n.Subnet6.IsValid():
		t.newPool(n.Name, n.Gateway6.Next())
	case ok:
		t.dropPool(n.Name, netip.IPv6Unspecified())
	}
	t.planMoved()
}

// newPool begins after the reserved address. Resting leases of an older
// subnet are dropped: they can never be asked for again.
func (t *txn) newPool(network string, reserved netip.Addr) {
	t.clearPool(network, reserved)
	t.pools.put(poolKey(network, reserved), pool{next: t.nextUnused(network, reserved.Next())})
}

// chooseAnew looks for free IPv4 addresses from the lowest on, after what is
// kept for guests has changed.
func (t *txn) chooseAnew(n *Network) {
	for _, key := range t.free.keys(poolKey(n.Name, n.HostAddr) + "/") {
		t.free.del(key)
	}
	p, _ := t.pools.get(poolKey(n.Name, n.HostAddr))
	p.next = t.nextUnused(n.Name, n.HostAddr.Next())
	t.pools.put(poolKey(n.Name, n.HostAddr), p)
}

func (t *txn) dropPool(network string, family netip.Addr) {
	t.clearPool(network, family)
	t.pools.del(poolKey(network, family))
}

func (t *txn) clearPool(network string, family netip.Addr) {
	prefix := poolKey(network, family) + "/"
	for _, key := range t.resting.keys(prefix) {
		lease, _ := t.resting.get(key)
		t.leases.del(lease)
		t.resting.del(key)
	}
	for _, key := range t.free.keys(prefix) {
		t.free.del(key)
	}
	for _, key := range t.lasts.keys(prefix) {
		t.lasts.del(key)
	}
}

func (t *table[V]) keys(prefix string) []string {
	var all []string
	t.each(prefix, func(key string, _ V) bool {
		all = append(all, key)
		return true
	})
	return all
}
