package scheduler

import (
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// readiness is how much of a group is healthy.
type readiness struct {
	healthy, total int
	first          string // what ails the first member that is not
}

// waitsFor says which group m must wait for; "" if none. A group counts as
// ready when every one of its members is healthy.
func (p *pass) waitsFor(m *member) string {
	for _, dep := range m.jail.Spec.Depends {
		g := p.byName[dep]
		if g == nil {
			return "waits for " + dep + ": there is no such jail"
		}
		r := g.readiness()
		if r.total == 0 {
			return "waits for " + dep + ": it is being removed"
		}
		if r.healthy < r.total {
			return fmt.Sprintf("waits for %s: %d of %d healthy: %s", dep, r.healthy, r.total, r.first)
		}
	}
	return ""
}

// readiness is computed once a pass.
func (g *group) readiness() *readiness {
	if g.ready != nil {
		return g.ready
	}
	r := &readiness{}
	for i := range g.members {
		m := &g.members[i]
		if m.jail.Want == fsm.WantGone {
			continue
		}
		r.total++
		if m.healthy() {
			r.healthy++
			continue
		}
		if r.first == "" {
			r.first = m.condition()
			if m.jail.Spec.Name != g.name {
				r.first = m.jail.Spec.Name + " " + r.first
			}
		}
	}
	g.ready = r
	return r
}

// condition says in a few words how m is.
func (m *member) condition() string {
	r := m.run
	switch {
	case m.jail.Want == fsm.WantStopped:
		return "stopped by user"
	case r == nil:
		return "not placed"
	case r.StopWhy != "" && !r.Phase.Over():
		return "stopping"
	case r.Phase == fsm.Running && r.Health == fsm.HealthUnhealthy:
		return "unhealthy"
	case r.Phase == fsm.Running:
		return "running, not yet healthy"
	case r.Phase.Over():
		return ended(r)
	default:
		return r.Phase.String()
	}
}
