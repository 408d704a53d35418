package scheduler

import (
	"cmp"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Priorities go from 1 to maxPriority.
const (
	usualPriority = 50
	maxPriority   = 100
)

// priority is how important m is: as it says itself, or as the most important
// jail that cannot start without it. Were it less, somebody in between could
// push it out, and that jail could never run for long.
func priority(m *member) int { return max(ownPriority(m), m.g.inherited) }

func ownPriority(m *member) int { return cmp.Or(m.jail.Spec.Place.Priority, usualPriority) }

// inherit tells groups how important those are that depend on them, and on
// those that depend on these.
func (p *pass) inherit() {
	for changed := true; changed; {
		changed = false
		for _, g := range p.groups {
			for i := range g.members {
				m := &g.members[i]
				if m.jail.Want != fsm.WantRunning {
					continue
				}
				for _, name := range m.jail.Spec.Depends {
					if dep := p.byName[name]; dep != nil && dep.inherited < priority(m) {
						dep.inherited, changed = priority(m), true
					}
				}
			}
		}
	}
}
