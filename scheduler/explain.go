package scheduler

import (
	"fmt"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Explanation says why a jail is where it is, or nowhere, and what each host
// would mean for it now.
type Explanation struct {
	Jail    fsm.JailName      `json:"jail"`
	Summary string            `json:"summary"`           // one sentence
	Host    string            `json:"host,omitempty"`    // name of the host of its live Run
	Placed  string            `json:"placed,omitempty"`  // why that host was chosen then
	Waiting string            `json:"waiting,omitempty"` // why it does not run, or is not up to date
	Best    string            `json:"best,omitempty"`    // name of the host that would be chosen now; "": none
	Hosts   []HostExplanation `json:"hosts"`             // by id
}

// HostExplanation is one host's answer.
type HostExplanation struct {
	ID      fsm.HostID     `json:"id"`
	Name    string         `json:"name"`
	Fits    bool           `json:"fits"`
	Current bool           `json:"current,omitempty"` // its live Run is here; it is scored without it
	Filters []FilterAnswer `json:"filters"`           // all of them, in the order in which they are asked
	Score   float64        `json:"score"`             // sum of Terms; 0 where it does not fit
	Terms   []Term         `json:"terms,omitempty"`
}

// FilterAnswer is what one filter says of one host.
type FilterAnswer struct {
	Filter string `json:"filter"`
	OK     bool   `json:"ok"`
	Why    string `json:"why,omitempty"` // set where it refuses
}

// Explain answers for jail what Schedule would think of every host at the
// time now. Of a jail that does not exist only the Summary speaks.
func Explain(s *fsm.State, jail fsm.JailName, now fsm.Time) Explanation {
	p := newPass(s, now)
	e := Explanation{Jail: jail, Hosts: []HostExplanation{}}
	m := p.find(jail)
	if m == nil {
		e.Summary = fmt.Sprintf("there is no jail %s: list jails with `rexctl ps`", jail)
		return e
	}
	for _, u := range Schedule(s, now).Pending {
		if u.Jail == jail {
			e.Waiting = u.Why
		}
	}
	f := p.fleet()
	attempt := 0
	if m.live() {
		e.Placed = m.run.Why
		if h, ok := f.index[m.run.Host]; ok {
			e.Host = f.hosts[h].Name
			f.seats[h].take(fsm.Resources{}.Sub(m.run.Res))
		}
	} else if m.jail.Want == fsm.WantRunning {
		attempt = retry(m).attempt
	}
	cur := m.run
	if m.live() {
		m.run = moved(cur) // scored as if it had to be placed now
	}
	c := f.classOf(m, attempt)
	for i := range f.hosts {
		e.Hosts = append(e.Hosts, c.explain(f, int32(i)))
	}
	m.run = cur
	if best := c.best(f); best >= 0 {
		e.Best = f.hosts[best].Name
	}
	if m.live() {
		for i := range e.Hosts {
			e.Hosts[i].Current = e.Hosts[i].ID == cur.Host
		}
	}
	e.Summary = e.sentence(m)
	return e
}

// moved is r as it would be after its end on our account.
func moved(r *fsm.Run) *fsm.Run {
	c := *r
	c.Phase, c.StopWhy = fsm.Stopped, "asked"
	return &c
}

func (p *pass) find(jail fsm.JailName) *member {
	j, ok := p.s.Jails.Get(string(jail))
	if !ok {
		return nil
	}
	g := p.byName[j.Spec.Group]
	for i := range g.members {
		if g.members[i].jail == j {
			return &g.members[i]
		}
	}
	return nil
}

// explain asks every filter and every term about host h.
func (c *class) explain(f *fleet, h int32) HostExplanation {
	host := f.hosts[h]
	e := HostExplanation{ID: host.ID, Name: host.Name, Fits: true}
	for i := range filters {
		a := FilterAnswer{Filter: filters[i].name, OK: filters[i].ok(f, &c.need, host)}
		if !a.OK {
			a.Why = filters[i].why(f, &c.need, host)
		}
		e.Filters = append(e.Filters, a)
		e.Fits = e.Fits && a.OK
	}
	room := FilterAnswer{Filter: roomFilter, Why: f.roomWhy(h, c.demand)}
	room.OK = room.Why == ""
	e.Filters = append(e.Filters, room)
	if e.Fits = e.Fits && room.OK; !e.Fits {
		return e
	}
	var sum int64
	for _, t := range c.terms(f, h) {
		e.Terms = append(e.Terms, Term{Name: t.name, Value: float64(t.points) / pointsPerOne})
		sum += t.points
	}
	e.Score = float64(sum) / pointsPerOne
	return e
}

func (e *Explanation) sentence(m *member) string {
	switch {
	case e.Waiting != "" && e.Host == "":
		return fmt.Sprintf("%s does not run: %s", e.Jail, e.Waiting)
	case e.Waiting != "":
		return fmt.Sprintf("%s runs on %s: %s", e.Jail, e.Host, e.Waiting)
	case m.healthy():
		return fmt.Sprintf("%s is healthy on %s, chosen for %s", e.Jail, e.Host, e.Placed)
	case e.Host != "":
		return fmt.Sprintf("%s is %s on %s, chosen for %s", e.Jail, m.condition(), e.Host, e.Placed)
	case m.jail.Want != fsm.WantRunning:
		return fmt.Sprintf("%s does not run: it is wanted %s", e.Jail, m.jail.Want)
	default:
		return fmt.Sprintf("%s is placed with the next step", e.Jail)
	}
}

// Lines are e for a person: the summary, then each host with what it scores or
// with every filter that refuses it.
func (e Explanation) Lines() []string {
	lines := []string{e.Summary}
	for i := range e.Hosts {
		h := &e.Hosts[i]
		mark := ""
		switch {
		case h.Current:
			mark = " (here now)"
		case h.Name == e.Best:
			mark = " (best now)"
		}
		lines = append(lines, fmt.Sprintf("  %s%s: %s", h.Name, mark, h.text()))
	}
	return lines
}

func (h *HostExplanation) text() string {
	if !h.Fits {
		var why []string
		for _, a := range h.Filters {
			if !a.OK {
				why = append(why, a.Filter+": "+a.Why)
			}
		}
		return "no: " + strings.Join(why, "; ")
	}
	s := fmt.Sprintf("%+.2f =", h.Score)
	for _, t := range h.Terms {
		s += fmt.Sprintf(" %s %+.2f", t.Name, t.Value)
	}
	return s
}
