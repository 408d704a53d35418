package fsm

import (
	"fmt"
	"slices"

	"github.com/rexcarcer/rexcarcer/spec"
)

// wishNetworks creates and changes the networks of w.
func (t *txn) wishNetworks(_, w *spec.Wish) *Refusal {
	if len(w.Networks) == 0 {
		return nil
	}
	if r := t.checkNetworks(w); r != nil {
		return r
	}
	for i := range w.Networks {
		n := &w.Networks[i]
		now := &Network{
			Network: *n, Wish: w.Name, ID: networkID(t.s.Cluster.ID, n.Name),
			Gateway: n.Gateway(), HostAddr: n.HostAddr(), Gateway6: n.Gateway6(),
		}
		old, ok := t.networks.get(n.Name)
		switch {
		case !ok:
			t.emit(NetworkCreated{now})
		case sameJSON(old, now):
		default:
			if (old.Subnet != n.Subnet || old.Subnet6 != n.Subnet6 && old.Subnet6.IsValid()) && t.liveIn(n.Name) > 0 {
				return refuse(CodeInvalid, "network "+n.Name,
					"%d addresses of %s are leased, so its subnets cannot become %s: remove its jails first, or declare a network with another name",
					t.liveIn(n.Name), old.subnets(), now.subnets())
			}
			if old.Subnet != n.Subnet {
				t.dropGuests(n.Name)
			}
			t.emit(NetworkChanged{now})
		}
	}
	return nil
}

// checkNetworks looks for subnets and published ports that collide with those
// of other wishes. Inside one wish, Validate has looked.
func (t *txn) checkNetworks(w *spec.Wish) *Refusal {
	var refusal *Refusal
	type holder struct {
		n      *Network
		shared bool
	}
	ports := make(map[string]holder)
	t.networks.each("", func(_ string, other *Network) bool {
		if other.Wish == w.Name && !other.Gone {
			return true // Validate knows, or it goes with this entry
		}
		if !other.Gone {
			for _, p := range other.Publish {
				ports[publishKey(p)] = holder{other, p.Shared}
			}
		}
		for i := range w.Networks {
			n := &w.Networks[i]
			if n.Name != other.Name && spec.Overlaps(*n, other.Network) {
				refusal = refuse(CodeInvalid, "network "+n.Name, "its subnet overlaps %s of network %s (wish %s): choose another one",
					other.subnets(), other.Name, other.Wish)
				return false
			}
		}
		return true
	})
	if refusal != nil {
		return refusal
	}
	for i := range w.Networks {
		for _, p := range w.Networks[i].Publish {
			if other, ok := ports[publishKey(p)]; ok && (!p.Shared || !other.shared) {
				return refuse(CodeInvalid, "network "+w.Networks[i].Name, "port %s is published by network %s (wish %s) already: choose another one",
					publishKey(p), other.n.Name, other.n.Wish)
			}
		}
	}
	return nil
}

func publishKey(p spec.Publish) string {
	proto := p.Proto
	if proto == "" {
		proto = "tcp"
	}
	return fmt.Sprintf("%d/%s", p.Port, proto)
}

// unwishNetworks removes the networks that old declared and w does not. Where
// jails of this wish are still stopping, the network goes with the last one.
func (t *txn) unwishNetworks(old, w *spec.Wish) *Refusal {
	still := make(map[string]bool, len(w.Networks))
	for i := range w.Networks {
		still[w.Networks[i].Name] = true
	}
	for i := range old.Networks {
		n, ok := t.networks.get(old.Networks[i].Name)
		if !ok || still[n.Name] || n.Wish != w.Name || n.Gone {
			continue
		}
		if t.liveIn(n.Name) == 0 {
			t.dropGuests(n.Name)
			t.emit(NetworkRemoved{n.Name})
			continue
		}
		if user := t.foreignUser(n); user != nil {
			return refuse(CodeInvalid, "network "+n.Name, "cannot be removed: jail %s of wish %s is in it; remove that jail first",
				user.Spec.Name, user.Wish)
		}
		now := *n
		now.Gone = true
		t.emit(NetworkChanged{&now})
	}
	return t.checkOverlaps(w)
}

// checkOverlaps looks at subnets of this wish that a network which goes with
// its last jail still has.
func (t *txn) checkOverlaps(w *spec.Wish) *Refusal {
	var gone []*Network
	t.networks.each("", func(_ string, n *Network) bool {
		if n.Gone {
			gone = append(gone, n)
		}
		return true
	})
	for _, g := range gone {
		for i := range w.Networks {
			if n := &w.Networks[i]; n.Name != g.Name && spec.Overlaps(*n, g.Network) {
				return refuse(CodeConflict, "network "+n.Name, "its subnet overlaps %s of network %s, whose jails are still stopping: apply again when they are gone",
					g.subnets(), g.Name)
			}
		}
	}
	return nil
}

// foreignUser is a jail of another wish, or one that stays, in the network.
func (t *txn) foreignUser(n *Network) *Jail {
	var user *Jail
	t.leases.each(n.Name+"/", func(_ string, l *Lease) bool {
		j, ok := t.jails.get(string(l.Jail))
		if ok && (j.Wish != n.Wish || j.Want != WantGone && hasNIC(j, n.Name)) {
			user = j
		}
		return user == nil
	})
	return user
}

func hasNIC(j *Jail, network string) bool {
	return slices.ContainsFunc(j.Spec.NICs, func(n spec.NIC) bool { return n.Network == network })
}
