package scheduler

import (
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// A host that drains lets its jails go at the pace of their groups (roll.go),
// and at its own, if it has one: so many on their way at once, each of them
// counted until what replaces it is healthy. At its deadline it lets go of all.

// exodus is how far the drain of one host is.
type exodus struct {
	limit int      // on their way at once; 0: any number
	away  int      // are on their way
	until fsm.Time // deadline; 0: none
}

// exoduses are looked up once a pass, and only while some host drains.
func (p *pass) exodus(id fsm.HostID) *exodus {
	if p.out == nil {
		p.out = map[fsm.HostID]*exodus{}
		for id, h := range p.s.Hosts.All {
			if h.State != fsm.HostDraining {
				continue
			}
			x := &exodus{}
			if h.Drain != nil {
				x.limit, x.until = h.Drain.Parallel, h.Drain.Until
			}
			p.out[fsm.HostID(id)] = x
		}
		for _, g := range p.groups {
			for i := range g.members {
				if x := p.out[p.departed(&g.members[i])]; x != nil {
					x.away++
				}
			}
		}
	}
	return p.out[id]
}

// departed is the draining host that m is leaving or has left, without having
// arrived elsewhere; "" if there is none. It counts for one host at a time, the
// first that it left, so that a stop on its way changes nothing.
func (p *pass) departed(m *member) fsm.HostID {
	r := m.run
	switch {
	case m.move != nil && m.move.Jail != "":
		return m.move.From
	case m.jail.Want != fsm.WantRunning || r == nil:
		return ""
	case p.draining[r.From] && !m.healthy():
		return r.From
	case p.draining[r.Host] && r.StopWhy != "" && r.Phase != fsm.Lost: // stopping, or stopped and not placed again
		return r.Host
	}
	return ""
}

// leftHost is the draining host that m leaves behind when it is placed now, or
// left before and never arrived from: what replaces it counts until it is well.
func (p *pass) leftHost(m *member) fsm.HostID {
	if id := p.departed(m); p.draining[id] && m.run != nil {
		return id
	}
	return ""
}

// hurried stops m at once, if the deadline of its host is over.
func (p *pass) hurried(m *member) bool {
	x := p.exodus(m.run.Host)
	if x == nil || x.until == 0 || m.move != nil {
		return false
	}
	if x.until > p.now {
		p.look(x.until)
		return false
	}
	p.stop(m, fmt.Sprintf("host %s drains, and its deadline is over", p.hostName(m.run.Host)))
	m.ending = true // its group has one member less, whose pace goes on counting
	if p.f != nil {
		p.f.tally.group = nil
	}
	return true
}

// mayGo lets one more jail leave its host, or says in Pending why it waits.
func (p *pass) mayGo(m *member) bool {
	if !p.leaving(m) || p.departed(m) != "" { // who is on its way already counts
		return true
	}
	x := p.exodus(m.run.Host)
	if x.limit == 0 || x.away < x.limit {
		return true
	}
	why := fmt.Sprintf("waits for its turn to leave %s: %d jails are on their way, and not more than %d may be at once", p.hostName(m.run.Host), x.away, x.limit)
	if x.until > p.now {
		why += fmt.Sprintf("; all go in %v", x.until.Sub(p.now).Round(time.Second))
	}
	p.pend(m, why, nil)
	return false
}

// gone counts one more that leaves its host.
func (p *pass) gone(m *member) {
	if p.leaving(m) && p.departed(m) == "" {
		p.exodus(m.run.Host).away++
	}
}
