package fsm

import (
	"net/netip"
	"time"
)

// Choosing addresses: fixed ones as wished, a returning jail's own while it
// rests, else the lowest free one.

// liveIn is how many leases of the network some jail has.
func (t *txn) liveIn(network string) int {
	four, _ := t.pools.get(network + "/4")
	six, _ := t.pools.get(network + "/6")
	return four.live + six.live
}

// takeFixed checks that jail may have the address that its spec names.
func (t *txn) takeFixed(n *Network, jail JailName, a netip.Addr) *Refusal {
	object := "jail " + string(jail)
	if err := n.Assignable(a); err != nil {
		return refuse(CodeInvalid, object, "%v: choose another address, or \"dhcp\"", err)
	}
	if g := t.guestHolds(n.Name, a); g != nil {
		return refuse(CodeInvalid, object, "the address %s of network %s is that of guest %s until %s: choose another one, or unplug it and apply again a minute later",
			a, n.Name, g.MAC, g.Expires.Time().Format(time.RFC3339))
	}
	l, ok := t.leases.get(LeaseKey(n.Name, a))
	switch {
	case !ok:
		return nil
	case l.Jail != "" && l.Jail != jail:
		return refuse(CodeInvalid, object, "the address %s of network %s is leased to jail %s: choose another one, or remove that jail first",
			a, n.Name, l.Jail)
	case l.Jail == "" && l.Last != jail && !l.rested(t.s.Now):
		return refuse(CodeInvalid, object, "the address %s of network %s was released by jail %s and rests until %s: apply again then, or choose another one",
			a, n.Name, l.Last, l.FreedAt.Add(RestTime).Time().Format(time.RFC3339))
	}
	return nil
}

// lastAddr is the address that jail had in the network, if it still rests.
func (t *txn) lastAddr(n *Network, jail JailName, family netip.Addr) (netip.Addr, bool) {
	key, ok := t.lasts.get(lastKey(n.Name, family, jail))
	if !ok {
		return netip.Addr{}, false
	}
	l, ok := t.leases.get(key)
	if !ok || l.Jail != "" || l.Last != jail || n.Assignable(l.Addr) != nil {
		return netip.Addr{}, false
	}
	return l.Addr, true
}

// lowestFree costs O(log n), and once O(1) for each lease that has rested.
func (t *txn) lowestFree(n *Network, family netip.Addr) (netip.Addr, bool) {
	key := poolKey(n.Name, family)
	p, ok := t.pools.get(key)
	if !ok {
		return netip.Addr{}, false
	}
	best := p.next
	lower := func(a netip.Addr) {
		if !best.IsValid() || a.Less(best) {
			best = a
		}
	}
	if k, _, ok := t.free.first(key + "/"); ok {
		lower(netip.AddrFrom16([16]byte([]byte(k[len(k)-16:]))).Unmap())
	}
	t.eachRested(n.Name, family, func(l *Lease) {
		if !n.KeptFromJails(l.Addr) {
			lower(l.Addr)
		}
	})
	return best, best.IsValid() && n.Assignable(best) == nil
}

func (t *txn) exhausted(n *Network, jail JailName, family netip.Addr) *Refusal {
	subnet := n.Subnet
	size := n.PoolSize()
	if !family.Is4() {
		subnet = n.Subnet6
		size = 1<<min(128-subnet.Bits(), 62) - 3
	}
	p, _ := t.pools.get(poolKey(n.Name, family))
	resting := 0
	t.resting.each(poolKey(n.Name, family)+"/", func(string, string) bool {
		resting++
		return true
	})
	return refuse(CodeExhausted, "network "+n.Name,
		"no address is left for jail %s: %s has room for %d jails, %d addresses are leased and %d rest for %v after their release; take a wider subnet, use another network or remove jails",
		jail, subnet, size, p.live, resting, RestTime)
}
