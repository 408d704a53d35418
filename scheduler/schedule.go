package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Decision is what to propose now, and when to look again.
type Decision struct {
	// Commands are PlaceJail and StopRun, each valid on the State that was
	// looked at, and together too.
	Commands []fsm.Command
	// Next is the earliest time at which something becomes due without a
	// change of State (a backoff, a min_healthy); 0: nothing will.
	Next fsm.Time
	// Pending holds the jails that should run and do not, or that cannot be
	// brought up to date, by name.
	Pending []Unplaced
}

// Unplaced is a jail that waits, and for what.
type Unplaced struct {
	Jail    fsm.JailName   `json:"jail"`
	Why     string         `json:"why"`
	Filters []FilterResult `json:"filters,omitempty"` // set when every host refused it
}

// FilterResult counts the hosts that one filter refused.
type FilterResult struct {
	Filter string `json:"filter"`
	Hosts  int    `json:"hosts"` // how many it refused
	Host   string `json:"host"`  // name of the first of them
	Why    string `json:"why"`   // why that one
}

// Schedule decides what to do about s at the time now.
func Schedule(s *fsm.State, now fsm.Time) Decision {
	p := newPass(s, now)
	for _, g := range p.groups {
		p.scanGroup(g)
	}
	p.placeAll()
	p.roll()
	slices.SortStableFunc(p.d.Pending, func(a, b Unplaced) int { return cmp.Compare(a.Jail, b.Jail) })
	return p.d
}

// pass is one call of Schedule: what it looked up so far and the Decision that
// it builds.
type pass struct {
	s      *fsm.State
	now    fsm.Time
	d      Decision
	groups []*group // by name
	byName map[string]*group
	start  []candidate // jails to place
	lag    []*member   // live Runs that must be replaced, in the order of groups

	strays  []*member // do not run, and their volumes are on a host that drains
	leavers []*member // already asked to leave a draining host, not yet gone

	draining map[fsm.HostID]bool // asked of each jail: no search in the State

	out map[fsm.HostID]*exodus // hosts that drain; nil: not looked at yet

	pushed []*member // asked to stop for another jail, not yet gone
	pushes []push    // who is asked to in this pass

	f    *fleet   // built when a host is first needed
	full *packing // built when a jail first fits nowhere
}

// group is the jails of one block with their newest Runs.
type group struct {
	name    string
	members []member // by Index, then name
	ready   *readiness

	inherited int // priority of the most important jail that needs it; 0: unknown, or none
}

// member is a jail with its newest Run, nil if it never had one.
type member struct {
	g      *group
	jail   *fsm.Jail
	run    *fsm.Run
	placed int32 // 1 + the host that this pass chose; 0: none
	ending bool  // this pass asks its Run to stop, for another jail or at a deadline

	home fsm.HostID // has the jail's volumes; "": any host will do
	move *fsm.Move  // goes on, of the jail or of a volume of it; nil: none does
	// untidy are hosts that moves left something on, see filter_move.go.
	untidy []fsm.HostID
}

func (m *member) name() fsm.JailName { return fsm.JailName(m.jail.Spec.Name) }

// live reports whether a Run of m is not over.
func (m *member) live() bool { return m.run != nil && !m.run.Phase.Over() }

// current reports whether m's newest Run is of the jail as it is wished now.
func (m *member) current() bool {
	return m.run != nil && m.run.Hash == m.jail.Hash && m.run.Restart >= m.jail.Restart
}

func (m *member) healthy() bool {
	return m.live() && m.run.Phase == fsm.Running && m.run.Health == fsm.HealthHealthy
}

func newPass(s *fsm.State, now fsm.Time) *pass {
	p := &pass{s: s, now: now, byName: make(map[string]*group, s.Groups.Len()), draining: map[fsm.HostID]bool{}}
	var g *group
	ranked := false
	for id, h := range s.Hosts.All {
		if h.State == fsm.HostDraining {
			p.draining[fsm.HostID(id)] = true
		}
	}
	for j, run := range fsm.Beside(s.Jails, s.Runs) {
		if g == nil || g.name != j.Spec.Group {
			if g = p.byName[j.Spec.Group]; g == nil {
				g = &group{name: j.Spec.Group}
				if of, ok := s.Groups.Get(g.name); ok {
					g.members = make([]member, 0, len(of.Jails))
				}
				p.byName[g.name] = g
				p.groups = append(p.groups, g)
			}
		}
		ranked = ranked || j.Spec.Place.Priority != 0
		g.members = append(g.members, member{g: g, jail: j, run: run})
		p.findMoves(&g.members[len(g.members)-1])
	}
	for _, g := range p.groups {
		slices.SortFunc(g.members, func(a, b member) int {
			return cmp.Or(cmp.Compare(a.jail.Spec.Index, b.jail.Spec.Index), cmp.Compare(a.jail.Spec.Name, b.jail.Spec.Name))
		})
	}
	slices.SortFunc(p.groups, func(a, b *group) int { return cmp.Compare(a.name, b.name) })
	if ranked {
		p.inherit()
	}
	return p
}

// scanGroup finds out what each member needs.
func (p *pass) scanGroup(g *group) {
	for i := range g.members {
		m := &g.members[i]
		switch want := m.jail.Want; {
		case m.live() && m.run.StopWhy != "":
			if want == fsm.WantRunning && p.leaving(m) {
				p.leavers = append(p.leavers, m)
			}
			if m.run.PushedBy != "" {
				p.pushed = append(p.pushed, m)
			}
		case m.live() && want == fsm.WantRunning && m.move != nil:
			if !m.current() || p.leaving(m) {
				p.pend(m, p.onItsWay(m.move), nil)
			}
		case m.live() && want == fsm.WantRunning:
			if !m.current() || p.leaving(m) {
				p.lag = append(p.lag, m)
			}
		case m.live():
			p.stop(m, stopWhy(want))
		case p.stranded(m):
			p.strays = append(p.strays, m)
		case want == fsm.WantRunning:
			p.scanStart(m)
		}
	}
}

func stopWhy(w fsm.Want) string {
	if w == fsm.WantGone {
		return "removed"
	}
	return "stopped by user"
}

// scanStart makes a candidate of m, which has no live Run, or says what it
// waits for.
func (p *pass) scanStart(m *member) {
	if why := p.held(m); why != "" {
		p.pend(m, why, nil)
		return
	}
	if why := p.waitsFor(m); why != "" {
		p.pend(m, why, nil)
		return
	}
	again := retry(m)
	fence := p.fence(m)
	again.due = max(again.due, fence.until)
	switch {
	case again.refused == "" && fence.shut:
		p.pend(m, "its host was cut off: it starts elsewhere when that one has surely stopped it"+fence.in(p.now), nil)
	case again.refused == "" && again.due > p.now && m.run.Phase == fsm.Lost:
		p.pend(m, "its host was removed: it starts elsewhere when that one has surely stopped it"+fence.in(p.now), nil)
		p.look(again.due)
	case again.refused != "":
		p.pend(m, again.refused, nil)
	case again.due > p.now:
		p.pend(m, again.wait(p.now), nil)
		p.look(again.due)
	default:
		p.start = append(p.start, candidate{m: m, attempt: again.attempt})
	}
}

// fence is what stands before a Run whose host was lost.
type fence struct {
	shut  bool     // until the leader says that the wait is over
	until fsm.Time // the host is gone from the cluster: by the clock
	about fsm.Time // for people
}

func (f fence) in(now fsm.Time) string {
	if left := max(f.about, f.until).Sub(now); left > 0 {
		return fmt.Sprintf(", in %v", left.Round(time.Millisecond))
	}
	return ""
}

// fence of m: the host that it was lost with may still run it.
func (p *pass) fence(m *member) fence {
	if m.run == nil || m.run.Phase != fsm.Lost || m.jail.Spec.NoFence {
		return fence{}
	}
	if h, ok := p.s.Hosts.Get(string(m.run.Host)); ok {
		return fence{shut: h.FencedAt != 0, about: h.FencedAt}
	}
	if d, ok := p.s.Denied.Get(string(m.run.Host)); ok {
		return fence{until: d.FencedAt}
	}
	return fence{}
}

func (p *pass) stop(m *member, why string) {
	p.d.Commands = append(p.d.Commands, fsm.StopRun{Jail: m.name(), Seq: m.run.Seq, Why: why})
}

func (p *pass) pend(m *member, why string, by []FilterResult) {
	p.d.Pending = append(p.d.Pending, Unplaced{Jail: m.name(), Why: why, Filters: by})
}

// look asks to be called again at t.
func (p *pass) look(t fsm.Time) {
	if p.d.Next == 0 || t < p.d.Next {
		p.d.Next = t
	}
}
