package scheduler

import "github.com/rexcarcer/rexcarcer/fsm"

// A host takes new jails only while it is alive: not when it drains, not when
// it is lost.
func hostOK(_ *fleet, _ *need, h *fsm.Host) bool { return h.State == fsm.HostAlive }

func hostWhy(_ *fleet, _ *need, h *fsm.Host) string { return "is " + string(h.State) }

// leaving reports whether m runs on a host that drains.
func (p *pass) leaving(m *member) bool {
	return len(p.draining) > 0 && p.draining[m.run.Host]
}
