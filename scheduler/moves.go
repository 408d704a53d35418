package scheduler

import (
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// A jail with volumes of its own leaves a host by a move: the volumes go first,
// while it runs. While a move goes on, the scheduler leaves its jail alone.

// moveAgain is how long a jail rests after a move that failed.
const moveAgain = 30 * time.Second

// findMoves notes at m what moves it, and where its volumes are.
func (p *pass) findMoves(m *member) {
	if len(m.jail.Spec.Volumes) > 0 {
		m.home = p.s.HomeOf(m.jail)
	}
	if p.s.Moves.Len() == 0 {
		return
	}
	if m.move = p.s.ActiveMove(m.jail.Spec.Name); m.move == nil {
		m.move = p.s.MovingVolume(m.jail)
	} else if m.move.Before() {
		m.home = m.move.From // where it may start again until it is asked to stop
	}
	m.untidy = p.leftovers(m)
}

// held says why m, which does not run, may not start now; "" if it may.
func (p *pass) held(m *member) string {
	if m.move == nil || m.move.Before() && m.move.Jail != "" && p.alive(m.move.From) {
		return ""
	}
	return p.onItsWay(m.move)
}

func (p *pass) onItsWay(m *fsm.Move) string {
	what := ""
	if m.Jail == "" {
		what = "its volume "
	}
	return fmt.Sprintf("%sis on its way from host %s to host %s (%s)", what, p.hostName(m.From), p.hostName(m.To), m.Phase)
}

func (p *pass) hostName(id fsm.HostID) string {
	if h, ok := p.s.Hosts.Get(string(id)); ok {
		return h.Name
	}
	return string(id)
}

func (p *pass) alive(id fsm.HostID) bool {
	h, ok := p.s.Hosts.Get(string(id))
	return ok && h.State == fsm.HostAlive
}

// stranded reports whether m does not run and its volumes are on a host that
// drains: they must leave it, too.
func (p *pass) stranded(m *member) bool {
	return p.draining[m.home] && m.move == nil && m.jail.Want != fsm.WantGone
}

// moveOff asks for a move of m and its volumes from a host that drains, and
// reports whether it did.
func (p *pass) moveOff(m *member) bool {
	from := m.home
	if why := p.rests(m); why != "" {
		p.pend(m, "cannot leave "+p.hostName(from)+": "+why, nil)
		return false
	}
	f := p.fleet()
	m.home = "" // it takes its volumes along
	c := f.classOf(m, 0)
	m.home = from
	to := c.best(f)
	if to < 0 {
		refused := f.crowded(c.rules, c.demand)
		p.pend(m, "cannot leave "+p.hostName(from)+": "+noHost(len(f.hosts), refused), refused)
		return false
	}
	if host := p.untidy(m, from, f.hosts[to].ID); host != "" {
		p.pend(m, "cannot leave "+p.hostName(from)+": host "+p.hostName(host)+" has not tidied up after its last move yet", nil)
		return false
	}
	f.seats[to].take(c.demand) // so that the next to move does not count on it
	p.d.Commands = append(p.d.Commands, fsm.MoveJail{Jail: m.name(), To: f.hosts[to].ID, Why: "host " + p.hostName(from) + " drains"})
	if !m.live() {
		p.pend(m, "moves to host "+f.hosts[to].Name+" with its volumes", nil)
	}
	return true
}

// rests says why the last move of m is not tried again now.
func (p *pass) rests(m *member) string {
	all := p.s.MovesOf(m.jail.Spec.Name)
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	due := last.EndedAt.Add(moveAgain)
	if last.Phase != fsm.MoveFailed || due <= p.now {
		return ""
	}
	p.look(due)
	return fmt.Sprintf("its move failed: %s: it is tried again in %v", last.Error, due.Sub(p.now).Round(time.Second))
}

// untidy is one of two hosts that has not tidied up after an earlier move of
// m or its volumes.
func (p *pass) untidy(m *member, from, to fsm.HostID) fsm.HostID {
	ids, _ := m.jail.Volumes()
	for _, o := range append(ids, m.jail.Spec.Name) {
		for _, mv := range p.s.MovesOf(o) {
			if !mv.FromClean && (mv.From == from || mv.From == to) {
				return mv.From
			}
			if !mv.ToClean && (mv.To == from || mv.To == to) {
				return mv.To
			}
		}
	}
	return ""
}

// reserveForMoves takes the room that jails on their way will need where they
// go: a move that finds it taken is for nothing.
func (f *fleet) reserveForMoves() {
	for _, m := range f.s.Moves.All {
		j, ok := f.s.Jails.Get(string(m.Jail))
		h, known := f.index[m.To]
		if ok && known && m.Active() && m.Phase != fsm.MovePlaced && j.Want == fsm.WantRunning {
			f.seats[h].take(fsm.Demand(&j.Spec))
		}
	}
}
