package sim

import (
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/scheduler"
)

// duties are what the leader does beside leading: it marks hosts and places jails.
func (w *World) duties() {
	l := w.leader
	if l.applied != len(w.entries) || l.busy {
		return
	}
	s := w.State()
	cmds := w.marks(s)
	if len(cmds) == 0 {
		cmds = scheduler.Schedule(s, l.clock()).Commands
	}
	if len(cmds) == 0 {
		return
	}
	l.busy = true
	left, term := len(cmds), w.term
	for _, cmd := range cmds {
		by := "scheduler"
		if _, ok := cmd.(fsm.MarkHost); ok {
			by = "host/" + string(l.id)
		}
		w.propose(l, by, cmd, func(error) {
			if left--; left == 0 && term == w.term {
				l.busy = false
			}
		})
	}
}

// marks says what gossip would: who is silent for too long is lost, who is back
// is alive, and when those that were lost have surely stopped what they ran.
// The leader waits by a clock that does not jump, and a new leader waits anew.
func (w *World) marks(s *fsm.State) []fsm.Command {
	var out []fsm.Command
	for _, h := range w.hosts {
		known, ok := s.Hosts.Get(string(h.id))
		if !ok {
			continue
		}
		there := h == w.leader || w.reaches(w.leader, h)
		if h.steady++; !there {
			h.steady = 0
		}
		if known.FencedAt != 0 && h.fenced == 0 {
			h.fenced = w.now + w.o.Wait
		}
		switch last := max(h.seen, w.leads); {
		case known.FencedAt != 0 && w.now > h.fenced:
			out = append(out, fsm.MarkHost{Host: h.id, State: known.State, Over: true, Why: "it has surely stopped what it ran"})
		case known.State == fsm.HostLost:
			if h.steady >= 5 {
				out = append(out, fsm.MarkHost{Host: h.id, State: fsm.HostAlive, Why: "answers again"})
			}
		case !there && w.now-last > w.o.Detect:
			h.fenced = last + w.o.Wait
			out = append(out, fsm.MarkHost{Host: h.id, State: fsm.HostLost, Why: "silent", Fence: w.leader.clock().Add(h.fenced - w.now)})
		}
	}
	return out
}

func brief(cmd fsm.Command) string {
	switch c := cmd.(type) {
	case fsm.PlaceJail:
		return fmt.Sprintf("%s run %d on %s: %s", c.Jail, c.Seq, c.Host, c.Why)
	case fsm.MoveStep:
		return fmt.Sprintf("%s %d at %s: %s %s", c.Object, c.ID, c.Host, c.Did, c.Why)
	case fsm.MoveJail:
		return fmt.Sprintf("%s to %s: %s", c.Jail, c.To, c.Why)
	case fsm.StopRun:
		return fmt.Sprintf("%s run %d: %s", c.Jail, c.Seq, c.Why)
	case fsm.ReportRun:
		return fmt.Sprintf("%s run %d on %s is %s %s %s", c.Jail, c.Seq, c.Host, c.Phase, c.Health, c.Reason)
	case fsm.MarkHost:
		return fmt.Sprintf("%s is %s: %s", c.Host, c.State, c.Why)
	}
	return ""
}
