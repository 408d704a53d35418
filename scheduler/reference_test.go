package scheduler

import (
	"cmp"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// naive places candidates one by one and looks at everything anew for each:
// no heaps, no classes, no running totals. Slow and plain on purpose: it says
// what place must give.
func naive(s *fsm.State, start []candidate) []fsm.Command {
	order := slices.Clone(start)
	slices.SortStableFunc(order, func(a, b candidate) int { return cmp.Compare(priority(b), priority(a)) })
	chosen := map[string]fsm.HostID{}
	var cmds []fsm.Command
	for _, c := range order {
		var best *fsm.Host
		var bestPoints int64
		for _, h := range s.Hosts.All {
			if !naiveFits(s, chosen, c, h) {
				continue
			}
			if p := naivePoints(s, chosen, c, h); best == nil || p > bestPoints {
				best, bestPoints = h, p
			}
		}
		if best == nil {
			continue
		}
		j := c.m.jail
		chosen[j.Spec.Name] = best.ID
		cmds = append(cmds, fsm.PlaceJail{Jail: fsm.JailName(j.Spec.Name), Host: best.ID, Seq: s.NextSeq(fsm.JailName(j.Spec.Name)), Attempt: c.attempt})
	}
	return cmds
}

func naiveUsed(s *fsm.State, chosen map[string]fsm.HostID, h *fsm.Host) fsm.Resources {
	var used fsm.Resources
	for _, r := range s.RunsOn(h.ID) {
		used = used.Add(r.Res)
	}
	for name, id := range chosen {
		if id == h.ID {
			j, _ := s.Jails.Get(name)
			used = used.Add(fsm.Demand(&j.Spec))
		}
	}
	return used
}

func naiveFits(s *fsm.State, chosen map[string]fsm.HostID, c candidate, h *fsm.Host) bool {
	j := &c.m.jail.Spec
	if h.State != fsm.HostAlive || j.Place.Host != "" && j.Place.Host != h.Name || j.Runtime != "" && j.Runtime != h.Runtime {
		return false
	}
	if h.Runtime != "sim" && j.OS != "" && j.OS != h.OS {
		return false
	}
	for _, v := range j.Volumes {
		if v.Source == "" && c.m.run != nil && c.m.run.Host != h.ID {
			return false
		}
	}
	b, ok := s.Builds.Get(j.ImageKey)
	held := ok && slices.ContainsFunc(b.Hosts, func(id fsm.HostID) bool {
		at, known := s.Hosts.Get(string(id))
		return id == h.ID || known && at.State != fsm.HostLost
	})
	if !held {
		return false
	}
	for _, text := range j.Place.Constraint {
		if e, err := spec.ParseConstraint(text); err != nil || !e.Eval(func(n string) (string, bool) { return attribute(h, n) }) {
			return false
		}
	}
	return h.Capacity.Fits(naiveUsed(s, chosen, h), fsm.Demand(j))
}

func naivePoints(s *fsm.State, chosen map[string]fsm.HostID, c candidate, h *fsm.Host) int64 {
	j := &c.m.jail.Spec
	used := naiveUsed(s, chosen, h).Add(fsm.Demand(j))
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
	n := naiveMembers(s, chosen, j, h)
	switch {
	case j.Place.Spread != "":
		points += (1 - n) * pointsPerOne
	case !j.Place.BinPack && len(c.m.g.members) > 1:
		points += mildSpread / (1 + n)
	}
	return points
}

// naiveMembers counts the others of j's group in h's domain.
func naiveMembers(s *fsm.State, chosen map[string]fsm.HostID, j *spec.Jail, h *fsm.Host) int64 {
	var n int64
	for name, other := range s.Jails.All {
		if other.Spec.Group != j.Group {
			continue
		}
		at, ok := chosen[name]
		if r := s.LiveRun(fsm.JailName(name)); r != nil && r.StopWhy == "" {
			at, ok = r.Host, true
		}
		if !ok {
			continue
		}
		g, _ := s.Hosts.Get(string(at))
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
