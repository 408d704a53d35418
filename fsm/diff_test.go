package fsm

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever two States of one log differ in, Diff names; nothing else, and a
// State does not differ from itself.
func TestDiffNamesExactlyWhatIsNotAlike(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLog(rt)
		states := []*State{l.s}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			l.now += second
			_, _ = l.apply(drawCommand(rt, l)) // refusals change nothing
			states = append(states, l.s)
		}
		a := states[rapid.IntRange(0, len(states)-1).Draw(rt, "a")]
		b := states[rapid.IntRange(0, len(states)-1).Draw(rt, "b")]
		changed := map[string]bool{}
		for c := range Diff(a, b) {
			if c.Before == nil && c.After == nil {
				rt.Fatalf("%s %q: neither before nor after", c.Kind, c.Key)
			}
			changed[c.Kind+" "+c.Key] = true
		}
		for i, sec := range a.stored() {
			if innards[sec.number] {
				continue
			}
			before, after := map[string]any{}, map[string]any{}
			for k, v := range sec.each {
				before[k] = v
			}
			for k, v := range b.stored()[i].each {
				after[k] = v
				if (before[k] != v) != changed[sec.name+" "+k] {
					rt.Fatalf("%s %q: alike is %v, and Diff says the opposite", sec.name, k, before[k] == v)
				}
			}
			for k := range before {
				if _, ok := after[k]; !ok && !changed[sec.name+" "+k] {
					rt.Fatalf("%s %q is gone, and Diff does not say so", sec.name, k)
				}
			}
		}
		for c := range Diff(a, a) {
			rt.Fatalf("a State differs from itself: %s %q", c.Kind, c.Key)
		}
	})
}
