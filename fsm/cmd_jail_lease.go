package fsm

import (
	"net/netip"
)

// releaseAddr ends the leases of one NIC: the addresses rest.
func (t *txn) releaseAddr(name JailName, a Addr) {
	for _, ip := range [2]netip.Addr{a.Addr, a.Addr6} {
		if !ip.IsValid() {
			continue
		}
		l, ok := t.leases.get(LeaseKey(a.Network, ip))
		if !ok || l.Jail != name {
			continue
		}
		now := *l
		now.Jail, now.Last, now.FreedAt = "", name, t.s.Now
		t.emit(LeaseReleased{&now})
	}
}

// addrPlan is which addresses one jail gets: what it keeps is settled, what is
// still missing is chosen in turns, so that no leased address takes one that a
// later jail of the same wish has fixed or had before.
type addrPlan struct {
	name  JailName
	uuid  string
	host  string // Hostname of its leases
	addrs []Addr
	need  []addrNeed
	drop  []Addr // no longer wished
}

type addrNeed struct {
	nic    int
	family netip.Addr // any address of the family
	fixed  netip.Addr
}

// planAddrs compares the NICs that are wished with the addresses that old has.
func (t *txn) planAddrs(j *Jail, old *Jail) (*addrPlan, *Refusal) {
	p := &addrPlan{name: JailName(j.Spec.Name), uuid: j.UUID, host: j.Spec.Name}
	var have []Addr
	if old != nil {
		have = append(append(have, old.Addrs...), old.OldAddrs...)
	}
	for i, nic := range j.Spec.NICs {
		n, ok := t.networks.get(nic.Network)
		if !ok || n.Gone {
			return nil, refuse(CodeNotFound, "network "+nic.Network,
				"jail %s wants it, but nobody declares it: add a network block, or correct the name", j.Spec.Name)
		}
		p.addrs = append(p.addrs, Addr{Network: nic.Network, MAC: nicMAC(j.UUID, nic.Network)})
		p.wish(i, have, &p.addrs[i].Addr, nic.Addr, netip.IPv4Unspecified())
		if n.Subnet6.IsValid() {
			p.wish(i, have, &p.addrs[i].Addr6, nic.Addr6, netip.IPv6Unspecified())
		} else if nic.Addr6.IsValid() {
			return nil, refuse(CodeInvalid, "jail "+j.Spec.Name, "wants the address %s, but network %s has no subnet6: add one, or drop the address", nic.Addr6, n.Name)
		}
	}
	for _, a := range have {
		if rest, some := p.unused(a); some {
			p.drop = append(p.drop, rest)
		}
	}
	return p, nil
}

// wish keeps an address that the jail has in the NIC's network, if it will do.
func (p *addrPlan) wish(nic int, have []Addr, to *netip.Addr, fixed, family netip.Addr) {
	for _, a := range have {
		ip := a.Addr
		if !family.Is4() {
			ip = a.Addr6
		}
		if a.Network == p.addrs[nic].Network && ip.IsValid() && (!fixed.IsValid() || fixed == ip) {
			*to = ip
			return
		}
	}
	p.need = append(p.need, addrNeed{nic, family, fixed})
}

// unused is what of a the plan does not keep.
func (p *addrPlan) unused(a Addr) (Addr, bool) {
	for _, b := range p.addrs {
		if b.Network != a.Network {
			continue
		}
		if a.Addr == b.Addr {
			a.Addr = netip.Addr{}
		}
		if a.Addr6 == b.Addr6 {
			a.Addr6 = netip.Addr{}
		}
	}
	return a, a.Addr.IsValid() || a.Addr6.IsValid()
}

// turn says which needs are met in one round over all jails of a wish.
type turn int

const (
	turnFixed turn = iota
	turnReturning
	turnLowest
)

func (t *txn) meet(p *addrPlan, when turn) *Refusal {
	rest := p.need[:0]
	for _, need := range p.need {
		n, _ := t.networks.get(p.addrs[need.nic].Network)
		a, ok, refusal := t.choose(n, p, need, when)
		if refusal != nil {
			return refusal
		}
		if !ok {
			rest = append(rest, need)
			continue
		}
		if need.family.Is4() {
			p.addrs[need.nic].Addr = a
		} else {
			p.addrs[need.nic].Addr6 = a
		}
		t.emit(LeaseGranted{&Lease{
			Network: n.Name, Addr: a, MAC: p.addrs[need.nic].MAC, Jail: p.name, Hostname: p.host,
		}})
	}
	p.need = rest
	return nil
}

func (t *txn) choose(n *Network, p *addrPlan, need addrNeed, when turn) (netip.Addr, bool, *Refusal) {
	switch when {
	case turnFixed:
		if !need.fixed.IsValid() {
			return netip.Addr{}, false, nil
		}
		return need.fixed, true, t.takeFixed(n, p.name, need.fixed)
	case turnReturning:
		a, ok := t.lastAddr(n, p.name, need.family)
		return a, ok, nil
	default:
		a, ok := t.lowestFree(n, need.family)
		if !ok {
			return a, false, t.exhausted(n, p.name, need.family)
		}
		return a, true, nil
	}
}
