package scheduler

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// candidate is a jail that may start now.
type candidate struct {
	m       *member
	attempt int
	owed    fsm.HostID // others make room for it there; see preempt.go
}

// place finds a host for every candidate: important ones first, then by group
// and Index. Jails that ask the same are placed together, because all hosts
// need scoring only once for them.
func (p *pass) place() {
	slices.SortStableFunc(p.start, func(a, b candidate) int {
		return cmp.Compare(priority(b.m), priority(a.m))
	})
	p.d.Commands = slices.Grow(p.d.Commands, len(p.start))
	for rest := p.start; len(rest) > 0; {
		n := 1
		for n < len(rest) && alike(rest[0], rest[n]) {
			n++
		}
		p.placeAlike(rest[:n])
		rest = rest[n:]
	}
}

// alike reports whether every host scores a and b alike. Jails with volumes
// or failures behind them are each a case of their own.
func alike(a, b candidate) bool {
	return a.m.g == b.m.g && a.owed == "" && b.owed == "" && a.attempt < retryElsewhere && b.attempt < retryElsewhere &&
		volumeHome(a.m) == "" && volumeHome(b.m) == "" && a.m.untidy == nil && b.m.untidy == nil && askSame(&a.m.jail.Spec, &b.m.jail.Spec)
}

func (p *pass) placeAlike(cs []candidate) {
	f := p.fleet()
	c := f.classOf(cs[0].m, cs[0].attempt)
	next := c.ranked(f, len(cs))
	for i := range cs {
		a := &cs[i]
		h := next()
		if h < 0 {
			p.unplaced(cs[i:], c)
			return
		}
		p.d.Commands = append(p.d.Commands, fsm.PlaceJail{
			Jail: a.m.name(), Host: f.hosts[h].ID, Seq: a.m.nextSeq(), Attempt: a.attempt, From: p.leftHost(a.m),
			Why: string(appendTerms(make([]byte, 0, 64), c.terms(f, h))),
		})
		c.put(f, a.m, h)
	}
}

func (m *member) nextSeq() uint64 {
	if m.run == nil {
		return m.jail.SeqBase + 1
	}
	return m.run.Seq + 1
}

// put takes the room for m on h.
func (c *class) put(f *fleet, m *member, h int32) {
	m.placed = h + 1
	f.seats[h].take(c.demand)
	if c.mode != spreadNone {
		f.tallyUp(c.of, h)
	}
}

// unplaced lets those wait whom no host takes as it is: for room that will be
// there, or for something to change.
func (p *pass) unplaced(cs []candidate, c *class) {
	refused := p.f.crowded(c.rules, c.demand)
	why := noHost(len(p.f.hosts), refused)
	for i := range cs {
		a := &cs[i]
		if p.squeeze(a, c) {
			continue
		}
		if r := a.m.run; r != nil && r.PushedBy != "" {
			p.pend(a.m, "made room for "+string(r.PushedBy)+": "+why, refused)
			continue
		}
		p.pend(a.m, why, refused)
	}
}

// noHost says in one line why none of n hosts will do.
func noHost(n int, refused []FilterResult) string {
	if n == 0 {
		return "there is no host"
	}
	b := []byte("no host fits:")
	for i, r := range refused {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, ' ')
		if r.Filter != "image" && r.Filter != "volume" { // these speak of the jail
			b = append(b, r.Host...)
			b = append(b, ' ')
		}
		b = append(b, r.Why...)
		if r.Hosts > 1 {
			b = append(b, " ("+r.Filter+" refused "...)
			b = strconv.AppendInt(b, int64(r.Hosts), 10)
			b = append(b, " hosts)"...)
		}
	}
	return string(b)
}
