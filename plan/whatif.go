package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// WhatIf is what might happen to a cluster, all of it together.
type WhatIf struct {
	Wish  *spec.Wish // is applied; nil: none
	Scale map[string]int
	Add   []fsm.Host   // join; an empty OS, Arch or Runtime is that of the others
	Lost  []fsm.HostID // are lost, and have surely stopped what they ran
	Drain []fsm.HostID
}

// Opinion is the scheduler's on a State at that State's own Now: what it would
// do, and which jails wait for what.
type Opinion func(*fsm.State) ([]fsm.Command, []Waits)

// Waits is a jail that wants to run and has no place.
type Waits struct {
	Jail string `json:"jail"`
	Why  string `json:"why"`
}

// Outcome is what would come of it.
type Outcome struct {
	Fits    bool       `json:"fits"`  // nobody waits who would not wait without it
	Jails   []Relocate `json:"jails"` // that would run elsewhere, start, or go
	Waiting []Waits    `json:"waiting"`
	Hosts   []HostFill `json:"hosts"` // by name
}

// Relocate is a jail that would be somewhere else.
type Relocate struct {
	Jail string `json:"jail"`
	From string `json:"from,omitempty"` // empty: it does not run now
	To   string `json:"to,omitempty"`   // empty: it would not run
	Why  string `json:"why,omitempty"`  // why that host, or why it waits
}

// HostFill is how full a host would be.
type HostFill struct {
	Name     string        `json:"name"`
	State    string        `json:"state"`
	Capacity fsm.Resources `json:"capacity"`
	Before   fsm.Resources `json:"before"`
	After    fsm.Resources `json:"after"`
}

// Try plays w on s, as Make plays an apply: on a copy, with everybody doing at
// once what is asked of them.
func (w *WhatIf) Try(s *fsm.State, ask Opinion) (*Outcome, error) {
	place := func(s *fsm.State) []fsm.Command { cmds, _ := ask(s); return cmds }
	before := begin(s, place)
	after := before.twin()
	if err := before.settle(); err != nil {
		return nil, err
	}
	cmds, err := w.commands(s)
	if err != nil {
		return nil, err
	}
	for _, c := range cmds {
		if _, err := after.apply(c); err != nil {
			return nil, fmt.Errorf("what if: %w", err)
		}
	}
	if err := after.settle(); err != nil {
		return nil, err
	}
	return outcome(s, before.s, after.s, ask), nil
}

// commands are what would be in the log.
func (w *WhatIf) commands(s *fsm.State) ([]fsm.Command, error) {
	var cmds []fsm.Command
	for i := range w.Add {
		h := w.Add[i]
		for _, other := range s.Hosts.All {
			h.OS, h.Arch, h.Runtime = cmp.Or(h.OS, other.OS), cmp.Or(h.Arch, other.Arch), cmp.Or(h.Runtime, other.Runtime)
		}
		h.Role, h.Version = cmp.Or(h.Role, "host"), cmp.Or(h.Version, "?")
		cmds = append(cmds, fsm.RegisterHost{Host: h})
	}
	if w.Wish != nil {
		cmds = append(cmds, fsm.ApplyWish{Wish: *w.Wish})
	}
	scaled, err := w.scaled(s)
	if err != nil {
		return nil, err
	}
	cmds = append(cmds, scaled...)
	for _, h := range w.Drain {
		cmds = append(cmds, fsm.MarkHost{Host: h, State: fsm.HostDraining, Why: "what if"})
	}
	for _, h := range w.Lost {
		cmds = append(cmds, fsm.MarkHost{Host: h, State: fsm.HostLost, Why: "what if"})
	}
	return cmds, nil
}

// scaled are the wishes of s with other counts.
func (w *WhatIf) scaled(s *fsm.State) ([]fsm.Command, error) {
	wishes := map[string]*spec.Wish{}
	for _, group := range slices.Sorted(keys(w.Scale)) {
		g, ok := s.Groups.Get(group)
		if !ok {
			return nil, &fsm.Refusal{Code: fsm.CodeNotFound, Object: "jail " + group, Text: "there is no jail of this name with a count: list jails with `rexctl ps`"}
		}
		wish := wishes[g.Wish]
		if wish == nil {
			old, ok := s.Wishes.Get(g.Wish)
			if !ok {
				return nil, &fsm.Refusal{Code: fsm.CodeConflict, Object: "jail " + group, Text: "its wish " + g.Wish + " is gone"}
			}
			c := *old
			wish = &c
			wishes[g.Wish] = wish
		}
		if err := scale(wish, group, w.Scale[group]); err != nil {
			return nil, err
		}
	}
	var cmds []fsm.Command
	for _, name := range slices.Sorted(keys(wishes)) {
		cmds = append(cmds, fsm.ApplyWish{Wish: *wishes[name]})
	}
	return cmds, nil
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// maxScale bounds what one question may cost.
const maxScale = 10_000

// scale gives group n members like the ones that it has.
func scale(w *spec.Wish, group string, n int) error {
	var members, rest []spec.Jail
	for _, j := range w.Jails {
		if j.Group == group {
			members = append(members, j)
		} else {
			rest = append(rest, j)
		}
	}
	switch {
	case len(members) == 0 || members[0].Index == 0:
		return &fsm.Refusal{Code: fsm.CodeInvalid, Object: "jail " + group, Text: "has no count: give it one in its file"}
	case n < 1 || n > maxScale:
		return &fsm.Refusal{Code: fsm.CodeInvalid, Object: "jail " + group, Text: fmt.Sprintf("cannot have %d members: 1 to %d", n, maxScale)}
	}
	for i := len(members); i < n; i++ {
		j := members[0]
		j.Index, j.Name, j.Hostname = i+1, fmt.Sprintf("%s-%d", group, i+1), ""
		j.NICs = slices.Clone(j.NICs)
		for k := range j.NICs {
			j.NICs[k] = spec.NIC{Network: j.NICs[k].Network}
		}
		members = append(members, j)
	}
	members = members[:n]
	for i := range members {
		members[i].Replicas = n
	}
	w.Jails = append(rest, members...)
	w.Normalize()
	return nil
}

// outcome compares what is and what would be.
func outcome(now, before, after *fsm.State, ask Opinion) *Outcome {
	o := &Outcome{Jails: []Relocate{}, Waiting: []Waits{}, Hosts: []HostFill{}}
	_, waited := ask(before)
	_, waits := ask(after)
	old, why := map[string]bool{}, map[string]string{}
	for _, x := range waited {
		old[x.Jail] = true
	}
	for _, x := range waits {
		if liveRun(after, x.Jail) == nil {
			why[x.Jail] = x.Why
			o.Waiting = append(o.Waiting, x)
		}
	}
	o.Fits = !slices.ContainsFunc(o.Waiting, func(x Waits) bool { return !old[x.Jail] })
	for name := range now.Jails.All {
		o.relocate(now, before, after, name, why[name])
	}
	for name := range after.Jails.All {
		if _, known := now.Jails.Get(name); !known {
			o.relocate(now, before, after, name, why[name])
		}
	}
	for id, h := range after.Hosts.All {
		f := HostFill{Name: h.Name, State: string(h.State), Capacity: h.Capacity}
		f.Before, _ = before.Load.Get(id)
		f.After, _ = after.Load.Get(id)
		o.Hosts = append(o.Hosts, f)
	}
	slices.SortFunc(o.Hosts, func(a, b HostFill) int { return cmp.Compare(a.Name, b.Name) })
	return o
}

// relocate adds a jail that would be elsewhere than it would be anyhow.
func (o *Outcome) relocate(now, before, after *fsm.State, name, why string) {
	was, will := liveRun(before, name), liveRun(after, name)
	switch {
	case was == nil && will == nil, was != nil && will != nil && was.Host == will.Host:
		return
	}
	r := Relocate{Jail: name, Why: why}
	if is := liveRun(now, name); is != nil {
		r.From = hostName(now, is.Host)
	}
	if will != nil {
		r.To, r.Why = hostName(after, will.Host), will.Why
	}
	o.Jails = append(o.Jails, r)
}
