package scheduler

import (
	"cmp"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// plain is what the reference knows while it places.
type plain struct {
	s      *fsm.State
	chosen map[string]fsm.HostID   // placed, or waiting for room there
	ending map[string]fsm.JailName // pushed out, and by whom
	owed   map[string]fsm.HostID   // where others make room for a jail
}

// naive places candidates one by one and looks at everything anew for each:
// no heaps, no classes, no running totals. Slow and plain on purpose: it says
// what place must give, and who is pushed out.
func naive(s *fsm.State, start []candidate) (places []fsm.Command, pushes []fsm.StopRun) {
	w := &plain{s: s, ending: map[string]fsm.JailName{}, owed: map[string]fsm.HostID{}}
	for _, r := range s.ByHost.All {
		if r.PushedBy != "" {
			w.owed[string(r.PushedBy)] = r.Host
		}
	}
	for {
		order := slices.Clone(start)
		slices.SortStableFunc(order, func(a, b candidate) int {
			return cmp.Compare(w.importance(b.m.jail), w.importance(a.m.jail))
		})
		w.chosen, places = map[string]fsm.HostID{}, nil
		before := len(pushes)
		for _, c := range order {
			name := c.m.jail.Spec.Name
			if h := w.best(c); h != nil {
				w.chosen[name] = h.ID
				places = append(places, fsm.PlaceJail{Jail: fsm.JailName(name), Host: h.ID, Seq: s.NextSeq(fsm.JailName(name)), Attempt: c.attempt})
				continue
			}
			h, who := w.squeeze(c)
			if h == nil {
				continue
			}
			w.chosen[name] = h.ID
			for _, r := range who {
				w.ending[string(r.Jail)], w.owed[name] = fsm.JailName(name), h.ID
				pushes = append(pushes, fsm.StopRun{Jail: r.Jail, Seq: r.Seq, For: fsm.JailName(name)})
			}
		}
		if len(pushes) == before {
			return places, pushes
		}
	}
}

func (w *plain) best(c candidate) *fsm.Host {
	var best *fsm.Host
	var bestPoints int64
	for _, h := range w.s.Hosts.All {
		if !naiveOpen(w.s, c, h) || !h.Capacity.Fits(naiveUsed(w.s, w.chosen, h), fsm.Demand(&c.m.jail.Spec)) {
			continue
		}
		p := w.points(c, h)
		if best == nil || p > bestPoints || p == bestPoints && lotOf(c, h) < lotOf(c, best) {
			best, bestPoints = h, p
		}
	}
	return best
}

// lotOf orders hosts of equal score, for c.
func lotOf(c candidate, h *fsm.Host) int64 {
	seed := hash(c.m.jail.Spec.Group, 0)
	if c.attempt >= retryElsewhere {
		seed = hash(c.m.jail.Spec.Name, c.m.nextSeq())
	}
	return int64(mix(seed^hash(string(h.ID), 0)) >> 32)
}

// later is what h will carry when all have left that leave for good.
func (w *plain) later(h *fsm.Host, but ...*fsm.Run) fsm.Resources {
	used := naiveUsed(w.s, w.chosen, h)
	for _, r := range w.s.RunsOn(h.ID) {
		j, _ := w.s.Jails.Get(string(r.Jail))
		_, pushed := w.ending[string(r.Jail)]
		if j.Want != fsm.WantRunning || r.PushedBy != "" || pushed || slices.Contains(but, r) {
			used = used.Sub(r.Res)
		}
	}
	return used
}

// squeeze finds the host on which there will be room for c, and who has to go
// for it: of all sets of tenants the best.
func (w *plain) squeeze(c candidate) (*fsm.Host, []*fsm.Run) {
	d := fsm.Demand(&c.m.jail.Spec)
	var hosts []*fsm.Host
	for _, h := range w.s.Hosts.All {
		if naiveOpen(w.s, c, h) {
			hosts = append(hosts, h)
		}
	}
	slices.SortStableFunc(hosts, func(a, b *fsm.Host) int {
		owed := w.owed[c.m.jail.Spec.Name]
		return map[bool]int{true: -1}[a.ID == owed] - map[bool]int{true: -1}[b.ID == owed]
	})
	for _, h := range hosts {
		if h.Capacity.Fits(w.later(h), d) {
			return h, nil
		}
	}
	slices.SortFunc(hosts, func(a, b *fsm.Host) int { return cmp.Compare(a.ID, b.ID) })
	var best []*fsm.Run
	var on *fsm.Host
	var cost []int64
	for _, h := range hosts {
		try := func(set []*fsm.Run) bool {
			if !h.Capacity.Fits(w.later(h, set...), d) {
				return false
			}
			if k := append(w.cost(set), -w.points(c, h), lotOf(c, h)); best == nil || slices.Compare(k, cost) < 0 {
				best, on, cost = slices.Clone(set), h, k
			}
			return true
		}
		w.smallest(w.tenants(h, c.m), try)
	}
	return on, best
}

// smallest tries all sets of the fewest tenants that do, those up to the lowest
// priority first: a set that is larger or takes more important ones is worse.
func (w *plain) smallest(tenants []*fsm.Run, try func([]*fsm.Run) bool) {
	for top := range int64(100) {
		low := slices.DeleteFunc(slices.Clone(tenants), func(r *fsm.Run) bool { return w.priority(r) > top })
		if len(low) == 0 || !try(low) {
			continue
		}
		for size, found := 1, false; !found; size++ {
			subsets(low, size, func(set []*fsm.Run) { found = try(set) || found })
		}
		return
	}
}

// cost is what a set of Runs is compared by: the least is the best.
func (w *plain) cost(set []*fsm.Run) []int64 {
	var highest, sum int64
	for _, r := range set {
		p := w.priority(r)
		highest, sum = max(highest, p), sum+p
	}
	return []int64{highest, int64(len(set)), sum}
}

func (w *plain) priority(r *fsm.Run) int64 {
	j, _ := w.s.Jails.Get(string(r.Jail))
	return w.importance(j)
}

// importance is the highest priority of j and of all that need it.
func (w *plain) importance(j *fsm.Jail) int64 {
	most := cmp.Or(j.Spec.Place.Priority, 50)
	for _, k := range w.s.Jails.All {
		if p := cmp.Or(k.Spec.Place.Priority, 50); k.Want == fsm.WantRunning && p > most && w.needs(k, j.Spec.Group, 0) {
			most = p
		}
	}
	return int64(most)
}

// tenants are the Runs on h that may be pushed out, those left out that have
// nothing to give.
func (w *plain) tenants(h *fsm.Host, c *member) []*fsm.Run {
	var ts []*fsm.Run
	for _, r := range w.s.RunsOn(h.ID) {
		j, _ := w.s.Jails.Get(string(r.Jail))
		own := slices.ContainsFunc(j.Spec.Volumes, func(v spec.Volume) bool { return v.Source == "" })
		_, pushed := w.ending[string(r.Jail)]
		if r.StopWhy == "" && !pushed && !own && j.Want == fsm.WantRunning && w.priority(r) < w.importance(c.jail) && r.Res.MilliCPU+r.Res.MemoryBytes > 0 {
			ts = append(ts, r)
		}
	}
	slices.SortFunc(ts, func(a, b *fsm.Run) int {
		return cmp.Or(cmp.Compare(w.priority(a), w.priority(b)), cmp.Compare(a.Jail, b.Jail))
	})
	return ts
}

// needs: j cannot start without group.
func (w *plain) needs(j *fsm.Jail, group string, depth int) bool {
	for _, d := range j.Spec.Depends {
		if d == group {
			return true
		}
		for _, k := range w.s.Jails.All {
			if k.Spec.Group == d && k.Want == fsm.WantRunning && depth < w.s.Groups.Len() && w.needs(k, group, depth+1) {
				return true
			}
		}
	}
	return false
}

// subsets yields all subsets of all with so many members, in order.
func subsets(all []*fsm.Run, size int, yield func([]*fsm.Run)) {
	var set []*fsm.Run
	var more func(from int)
	more = func(from int) {
		if len(set) == size {
			yield(set)
			return
		}
		for i := from; i < len(all); i++ {
			set = append(set, all[i])
			more(i + 1)
			set = set[:len(set)-1]
		}
	}
	more(0)
}

func naiveUsed(s *fsm.State, chosen map[string]fsm.HostID, h *fsm.Host) fsm.Resources {
	var used fsm.Resources
	for _, r := range s.RunsOn(h.ID) {
		used = used.Add(r.Res)
	}
	for _, m := range s.Moves.All { // what comes needs its place
		j, ok := s.Jails.Get(string(m.Jail))
		if ok && m.To == h.ID && m.Active() && m.Phase != fsm.MovePlaced && j.Want == fsm.WantRunning {
			used = used.Add(fsm.Demand(&j.Spec))
		}
	}
	for name, id := range chosen {
		if id == h.ID {
			j, _ := s.Jails.Get(name)
			used = used.Add(fsm.Demand(&j.Spec))
		}
	}
	return used
}

// naiveOpen: h takes c if it has room.
func naiveOpen(s *fsm.State, c candidate, h *fsm.Host) bool {
	j := &c.m.jail.Spec
	if h.State != fsm.HostAlive || j.Place.Host != "" && j.Place.Host != h.Name || j.Runtime != "" && j.Runtime != h.Runtime {
		return false
	}
	if h.Runtime != "sim" && j.OS != "" && j.OS != h.OS {
		return false
	}
	home := s.HomeOf(c.m.jail)
	if m := s.ActiveMove(j.Name); m != nil {
		home = m.From
	}
	if home != "" && home != h.ID {
		return false
	}
	ids, _ := c.m.jail.Volumes()
	for _, o := range append(ids, j.Name) {
		for _, m := range s.MovesOf(o) {
			if m.Phase == fsm.MoveFailed && !m.ToClean && m.To == h.ID || m.Phase == fsm.MoveDone && !m.FromClean && m.From == h.ID {
				return false
			}
		}
	}
	b, ok := s.Builds.Get(j.ImageKey)
	held := ok && slices.ContainsFunc(b.Hosts, func(id fsm.HostID) bool {
		at, known := s.Hosts.Get(string(id))
		return id == h.ID || known && at.State != fsm.HostLost && (at.OS == h.OS && at.Arch == h.Arch || h.Runtime == "sim")
	})
	if !held {
		return false
	}
	for _, text := range j.Place.Constraint {
		if e, err := spec.ParseConstraint(text); err != nil || !e.Eval(func(n string) (string, bool) { return attribute(h, n) }) {
			return false
		}
	}
	return true
}

func (w *plain) points(c candidate, h *fsm.Host) int64 {
	j := &c.m.jail.Spec
	used := naiveUsed(w.s, w.chosen, h).Add(fsm.Demand(j))
	var use int64
	if n := h.Capacity.MilliCPU; n > 0 {
		use += used.MilliCPU * ((full << shareShift) / n)
	}
	if n := h.Capacity.MemoryBytes; n > 0 {
		use += (used.MemoryBytes >> 10) * ((full << shareShift) / (n >> 10))
	}
	room := h.Capacity.Jails
	if room == 0 {
		room = max(crowd, crowd*h.Capacity.MilliCPU/1000)
	}
	use += used.Jails * ((full << shareShift) / room)
	use >>= shareShift
	points := loadPoints - use
	if j.Place.BinPack {
		points = use
	}
	points += imageHere
	var held, all int64
	for _, text := range j.Place.Affinity {
		a, _ := spec.ParseAffinity(text)
		if a.Eval(func(n string) (string, bool) { return attribute(h, n) }) {
			held += int64(a.Weight)
		}
		all += max(int64(a.Weight), -int64(a.Weight))
	}
	if all > 0 {
		points += likedPoints * held / all
	}
	if c.attempt >= retryElsewhere && c.m.run.Host == h.ID {
		points += failedHere
	}
	n := w.members(j, h)
	switch {
	case j.Place.Spread != "":
		points += (1 - n) * pointsPerOne
	case !j.Place.BinPack && len(c.m.g.members) > 1:
		points += mildSpread / (1 + n)
	}
	return points
}

// members counts the others of j's group in h's domain.
func (w *plain) members(j *spec.Jail, h *fsm.Host) int64 {
	var n int64
	for name, other := range w.s.Jails.All {
		if other.Spec.Group != j.Group {
			continue
		}
		at, ok := w.chosen[name]
		_, pushed := w.ending[name]
		if r := w.s.LiveRun(fsm.JailName(name)); r != nil && r.StopWhy == "" && !pushed {
			at, ok = r.Host, true
		}
		if !ok {
			continue
		}
		g, _ := w.s.Hosts.Get(string(at))
		if key := j.Place.Spread; key != "" && key != "host" {
			a, hasA := g.Labels[key]
			b, hasB := h.Labels[key]
			if a == b && hasA == hasB {
				n++
			}
		} else if g.ID == h.ID {
			n++
		}
	}
	return n
}
