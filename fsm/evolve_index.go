package fsm

import (
	"cmp"
	"slices"
)

// Indexes that follow from the objects: who runs where, how much of a host is
// taken, who belongs to a group.

func hostKey(h HostID, j JailName) string { return string(h) + "/" + string(j) }

// setRun puts r in and keeps ByHost and Load in step with it.
func (t *txn) setRun(r *Run) {
	old, ok := t.runs.get(string(r.Jail))
	wasLive := ok && !old.Phase.Over()
	isLive := !r.Phase.Over()
	if wasLive && (!isLive || old.Host != r.Host) {
		t.byHost.del(hostKey(old.Host, old.Jail))
	}
	if isLive {
		t.byHost.put(hostKey(r.Host, r.Jail), r)
	}
	if wasLive != isLive || wasLive && (old.Host != r.Host || old.Res != r.Res) {
		if wasLive {
			t.addLoad(old.Host, Resources{}.Sub(old.Res))
		}
		if isLive {
			t.addLoad(r.Host, r.Res)
		}
	}
	if r.Phase == Lost { // its host may come back with it: no later jail may reach that Seq
		t.s.lostSeq = max(t.s.lostSeq, r.Seq)
	}
	t.runs.put(string(r.Jail), r)
}

func (t *txn) addLoad(h HostID, d Resources) {
	sum, _ := t.load.get(string(h))
	if sum = sum.Add(d); sum == (Resources{}) {
		t.load.del(string(h))
		return
	}
	t.load.put(string(h), sum)
}

// group is the group as it is at this point of the transaction.
func (t *txn) group(name string) (*Group, bool) {
	if g, ok := t.members[name]; ok {
		return g, g != nil
	}
	return t.groups.get(name)
}

// ownGroup is a copy that this transaction may change in place: a thousand
// replicas that join in one entry must not copy a thousand lists.
func (t *txn) ownGroup(name, wish string) *Group {
	if t.members == nil {
		t.members = make(map[string]*Group)
	}
	if g := t.members[name]; g != nil {
		return g
	}
	own := &Group{Name: name, Wish: wish}
	if _, removed := t.members[name]; !removed {
		if g, ok := t.groups.get(name); ok {
			own = &Group{Name: name, Wish: g.Wish, Jails: slices.Clone(g.Jails)}
		}
	}
	t.members[name] = own
	return own
}

func (t *txn) joinGroup(j *Jail) {
	g := t.ownGroup(j.Spec.Group, j.Wish)
	name := JailName(j.Spec.Name)
	if n := len(g.Jails); n == 0 || byIndex(g.Jails[n-1], name) < 0 {
		g.Jails = append(g.Jails, name)
		return
	}
	if i, found := slices.BinarySearchFunc(g.Jails, name, byIndex); !found {
		g.Jails = slices.Insert(g.Jails, i, name)
	}
}

func (t *txn) leaveGroup(j *Jail) {
	g := t.ownGroup(j.Spec.Group, j.Wish)
	if i, found := slices.BinarySearchFunc(g.Jails, JailName(j.Spec.Name), byIndex); found {
		g.Jails = slices.Delete(g.Jails, i, i+1)
	}
	if len(g.Jails) == 0 {
		t.members[j.Spec.Group] = nil
	}
}

// byIndex orders NAME-2 before NAME-10. In one group all names have the same
// stem, so the shorter one has the lower index.
func byIndex(a, b JailName) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// flush writes the groups that this transaction owns into their table.
func (t *txn) flush() {
	for name, g := range t.members { // order does not show: one key each
		if g == nil {
			t.groups.del(name)
			continue
		}
		t.groups.put(name, g)
	}
	t.members = nil
}
