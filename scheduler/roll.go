package scheduler

import (
	"fmt"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// roll stops Runs that are out of date or on a draining host, as fast as
// their groups allow: never more members away at once than max_parallel, each
// healthy for min_healthy before the next goes.
func (p *pass) roll() {
	p.lag = slices.DeleteFunc(p.lag, func(m *member) bool { return m.ending || p.leaving(m) && p.hurried(m) })
	if len(p.lag)+len(p.strays) > 0 {
		p.reserveForLeavers()
	}
	for len(p.lag) > 0 {
		n := 1
		for n < len(p.lag) && p.lag[n].g == p.lag[0].g {
			n++
		}
		p.rollGroup(p.lag[0].g, p.lag[:n])
		p.lag = p.lag[n:]
	}
	for _, m := range p.strays {
		p.moveOff(m)
	}
}

// reserveForLeavers takes the room that those who are on their way from a
// draining host will need, so that the next ones do not count on it.
func (p *pass) reserveForLeavers() {
	f := p.fleet()
	for _, m := range p.leavers {
		c := f.classOf(m, 0)
		if h := c.best(f); h >= 0 {
			f.seats[h].take(c.demand)
		}
	}
}

// rollGroup stops what it may of lag, the members of g that must be replaced.
// Members that are broken anyway go first: replacing them takes nothing away,
// so a group of broken members can always be repaired.
func (p *pass) rollGroup(g *group, lag []*member) {
	limit := max(1, lag[0].jail.Spec.Update.MaxParallel)
	away := p.away(g)
	var broken, healthy, waiting []*member
	for _, m := range lag {
		if m.healthy() {
			healthy = append(healthy, m)
		} else {
			broken = append(broken, m)
		}
	}
	taken := 0
	for _, m := range broken {
		asked := m.run.Hash == m.jail.Hash && !p.leaving(m) // a restart of what is broken: nothing to pace
		switch {
		case asked:
			p.replace(m)
		case away+taken >= limit:
			waiting = append(waiting, m)
		case p.replace(m):
			taken++
		}
	}
	free := limit - away - len(broken)
	for _, m := range healthy {
		switch {
		case free <= 0:
			waiting = append(waiting, m)
		case p.replace(m):
			free--
		}
	}
	if len(waiting) > 0 {
		why := fmt.Sprintf("waits for its turn: %d of %s are away or on their way, and max_parallel is %d",
			min(len(g.members), away+len(lag)-len(waiting)), g.name, limit)
		for _, m := range waiting {
			p.pend(m, why, nil)
		}
	}
}

// away counts the members of g that are on their way: stopping, not running
// yet, or not healthy for long enough. Jails that nobody wants to run, that
// ended well, that never found a host, or that must be replaced themselves do
// not count.
func (p *pass) away(g *group) int {
	n := 0
	for i := range g.members {
		m := &g.members[i]
		if m.jail.Want != fsm.WantRunning || done(m) || m.run == nil && m.placed == 0 {
			continue
		}
		stopping := m.live() && (m.run.StopWhy != "" || m.ending)
		switch lagging := m.live() && !stopping && (!m.current() || p.leaving(m)); {
		case m.move != nil:
			n++
		case lagging:
		case !m.healthy() || stopping:
			n++
		default:
			ripe := m.run.HealthyAt.Add(m.jail.Spec.Update.MinHealthy)
			if ripe > p.now {
				n++
				p.look(ripe)
			}
		}
	}
	return n
}

// replace stops m if its next Run would find a host, and reports whether it
// did. A jail that runs is worth more than one that waits for room.
func (p *pass) replace(m *member) bool {
	if !p.mayGo(m) {
		return false
	}
	if !p.substitute(m) {
		return false
	}
	p.gone(m)
	return true
}

func (p *pass) substitute(m *member) bool {
	if m.home != "" && p.leaving(m) {
		return p.moveOff(m)
	}
	f := p.fleet()
	c := f.classOf(m, 0)
	from, known := f.index[m.run.Host]
	moving := p.leaving(m)
	if known && !moving {
		f.seats[from].take(fsm.Resources{}.Sub(m.run.Res))
	}
	to := c.best(f)
	if to < 0 {
		why := "update waits: "
		if moving {
			why = "cannot leave " + f.hosts[from].Name + ": "
		}
		refused := f.crowded(c.rules, c.demand)
		p.pend(m, why+noHost(len(f.hosts), refused), refused)
	} else if moving {
		f.seats[to].take(c.demand) // so that the next to move does not count on it
	}
	if known && !moving {
		f.seats[from].take(m.run.Res)
	}
	if to >= 0 {
		p.stop(m, p.replaceWhy(m))
	}
	return to >= 0
}

func (p *pass) replaceWhy(m *member) string {
	switch {
	case p.leaving(m):
		h, _ := p.s.Hosts.Get(string(m.run.Host))
		return fmt.Sprintf("host %s drains", h.Name)
	case m.run.Hash != m.jail.Hash:
		return "update"
	default:
		return "restart"
	}
}
