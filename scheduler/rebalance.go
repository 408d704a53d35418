package scheduler

import (
	"cmp"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Shift is a move that would level the cluster.
type Shift struct {
	Jail fsm.JailName `json:"jail"`
	From string       `json:"from"` // names of hosts
	To   string       `json:"to"`
	Gain float64      `json:"gain"` // how much better To scores than From, the jail counted on neither
	Why  string       `json:"why"`  // the score of To
}

// worthIt is the least gain that is worth a restart, in points. It is as much
// as an image that need not be fetched.
const worthIt = imageHere

// Rebalance proposes at most n moves of jails that run well to hosts that they
// would be placed on now, the one that gains most first, each on the cluster as
// the moves before it leave it. Nobody does it unasked. Jails with volumes of
// their own stay: their volumes would have to travel.
func Rebalance(s *fsm.State, now fsm.Time, n int) []Shift {
	p := newPass(s, now)
	p.fleet()
	out := []Shift{}
	for best := p.gains(); len(best) > 0 && len(out) < n; {
		top := best[0]
		best = best[1:]
		fresh, ok := p.gain(top.m)
		switch {
		case !ok:
			continue
		case len(best) > 0 && fresh.points < best[0].points: // less than it was, as earlier moves went: in its turn
			at, _ := slices.BinarySearchFunc(best, fresh, byGain)
			best = slices.Insert(best, at, fresh)
			continue
		}
		out = append(out, p.shift(fresh))
	}
	return out
}

// improvement is what a move of m would gain.
type improvement struct {
	m      *member
	to     int32
	points int64
	why    string
}

func byGain(a, b improvement) int {
	return cmp.Or(cmp.Compare(b.points, a.points), cmp.Compare(a.m.name(), b.m.name()))
}

// gains are the moves that are worth it as things are, the best first. Members
// of a group that are on one host gain the same, so one of them is asked.
func (p *pass) gains() []improvement {
	var all []improvement
	for _, g := range p.groups {
		seen := map[int32]improvement{}
		for i := range g.members {
			m := &g.members[i]
			if !m.movable() || p.leaving(m) {
				continue
			}
			at, ok := p.f.index[m.run.Host]
			if !ok {
				continue
			}
			x, known := seen[at]
			if !known || !askSame(&x.m.jail.Spec, &m.jail.Spec) {
				if x, ok = p.gain(m); !ok {
					x = improvement{m: m}
				}
				seen[at] = x
			}
			if x.m = m; x.points > 0 {
				all = append(all, x)
			}
		}
	}
	slices.SortFunc(all, byGain)
	return all
}

// movable: m runs well, and as it is wished, and has nothing on its host.
func (m *member) movable() bool {
	return m.jail.Want == fsm.WantRunning && m.healthy() && m.run.StopWhy == "" && m.current() && m.move == nil && m.home == "" && volumeHome(m) == ""
}

// gain is what the best move of m would gain; false if it is not worth it.
func (p *pass) gain(m *member) (improvement, bool) {
	f := p.f
	at := f.hostOf(m)
	if at < 0 {
		return improvement{}, false
	}
	placed := m.placed
	f.seats[at].take(fsm.Resources{}.Sub(m.run.Res))
	m.placed, m.ending, f.tally.group = 0, true, nil
	c := f.classOf(m, 0)
	to := c.best(f)
	x := improvement{m: m, to: to}
	if to >= 0 && to != at && slices.Contains(c.open, at) {
		x.points = c.score(f, to) - c.score(f, at)
		x.why = string(appendTerms(nil, c.terms(f, to)))
	}
	f.seats[at].take(m.run.Res)
	m.placed, m.ending, f.tally.group = placed, false, nil
	return x, x.points >= worthIt
}

// shift lets x happen.
func (p *pass) shift(x improvement) Shift {
	f := p.f
	at := f.hostOf(x.m)
	f.seats[at].take(fsm.Resources{}.Sub(x.m.run.Res))
	f.seats[x.to].take(x.m.run.Res)
	x.m.placed, f.tally.group = x.to+1, nil
	return Shift{Jail: x.m.name(), From: f.hosts[at].Name, To: f.hosts[x.to].Name, Gain: float64(x.points) / pointsPerOne, Why: x.why}
}
