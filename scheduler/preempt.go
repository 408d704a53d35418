package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// A jail that fits nowhere pushes out less important ones. It takes three
// steps that follow from State alone: their Runs are asked to stop, and say for
// whom; until they are over, the room that they leave is kept for that jail;
// then it is placed like any other, before them, for it is more important.
//
// Jails with volumes of their own are never pushed out: they could start
// nowhere else.

// packing is what a pass knows of hosts when a jail fits nowhere.
type packing struct {
	tenants [][]tenant      // by host: who may be pushed out
	sorted  bool            // tenants are, by priority, then name
	lowest  int             // priority of any tenant
	leaving []fsm.Resources // by host: room of Runs that end and do not come back there
	leavers [][]fsm.JailName
}

// push is a Run that is asked to stop for another jail, in this pass.
type push struct {
	m   *member
	by  fsm.JailName
	why string
}

// placeAll places all candidates. When some of them push others out, it does so
// again with that done, until nobody else has to go: what is decided then is
// what will be decided on the State that follows.
func (p *pass) placeAll() {
	if len(p.start) == 0 {
		return
	}
	p.owe()
	commands, pending := len(p.d.Commands), len(p.d.Pending)
	for {
		pushes := len(p.pushes)
		p.place()
		if len(p.pushes) == pushes {
			break
		}
		p.d.Commands, p.d.Pending = p.d.Commands[:commands], p.d.Pending[:pending]
		for i := range p.start {
			p.start[i].m.placed = 0
		}
		p.f, p.full = nil, nil
	}
	for _, x := range p.pushes {
		p.d.Commands = append(p.d.Commands, fsm.StopRun{Jail: x.m.name(), Seq: x.m.run.Seq, Why: x.why, For: x.by})
	}
}

// owe finds the candidates for whom others make room.
func (p *pass) owe() {
	if len(p.pushed) == 0 {
		return
	}
	at := map[fsm.JailName]fsm.HostID{}
	for _, m := range p.pushed {
		at[m.run.PushedBy] = m.run.Host
	}
	for i := range p.start {
		p.start[i].owed = at[p.start[i].m.name()]
	}
}

// packed looks at the hosts' Runs once a pass.
func (p *pass) packed() *packing {
	if p.full != nil {
		return p.full
	}
	f := p.fleet()
	n := len(f.hosts)
	c := &packing{tenants: make([][]tenant, n), lowest: maxPriority, leaving: make([]fsm.Resources, n), leavers: make([][]fsm.JailName, n)}
	for _, g := range p.groups {
		for i := range g.members {
			m := &g.members[i]
			if !m.live() {
				continue
			}
			h, ok := f.index[m.run.Host]
			switch {
			case !ok:
			case m.jail.Want != fsm.WantRunning || m.run.PushedBy != "" || m.ending:
				c.leaves(h, m)
			case m.run.StopWhy == "" && m.move == nil && volumeHome(m) == "":
				t := tenant{m, priority(m), m.run.Res}
				c.tenants[h] = append(c.tenants[h], t)
				c.lowest = min(c.lowest, t.priority)
			}
		}
	}
	p.full = c
	return c
}

func (c *packing) leaves(h int32, m *member) {
	c.leaving[h] = c.leaving[h].Add(m.run.Res)
	c.leavers[h] = append(c.leavers[h], m.name())
}

// sort is only needed where somebody may be pushed out.
func (c *packing) sort() {
	if c.sorted {
		return
	}
	c.sorted = true
	for _, ts := range c.tenants {
		slices.SortFunc(ts, func(a, b tenant) int {
			return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.m.name(), b.m.name()))
		})
	}
}

// squeeze finds room for a, whom no host takes as it is. It reports whether
// there will be some: then a waits for it.
func (p *pass) squeeze(a *candidate, c *class) bool {
	f, full := p.fleet(), p.packed()
	h := int32(-1)
	if owed, ok := f.index[a.owed]; ok && slices.Contains(c.open, owed) && enough(f.short(full, owed, c.demand)) {
		h = owed
	}
	for i := 0; h < 0 && i < len(c.open); i++ { // the first, not the best: it stays the first as others fill up
		if enough(f.short(full, c.open[i], c.demand)) {
			h = c.open[i]
		}
	}
	if h < 0 {
		if h = p.pushOut(a, c); h < 0 {
			return false
		}
	}
	p.pend(a.m, fmt.Sprintf("waits for room on %s: %s", f.hosts[h].Name, ending(full.leavers[h])), nil)
	c.put(f, a.m, h)
	return true
}

// short is what host h lacks for d once those who leave have left.
func (f *fleet) short(full *packing, h int32, d fsm.Resources) fsm.Resources {
	t := &f.seats[h]
	return d.Sub(full.leaving[h]).Sub(fsm.Resources{MilliCPU: t.freeCPU, MemoryBytes: t.freeMem, Jails: t.freeJails})
}

// pushOut asks the best choice of tenants to go for a; -1 if there is none.
func (p *pass) pushOut(a *candidate, c *class) int32 {
	f, full, limit := p.fleet(), p.packed(), priority(a.m)
	if limit <= full.lowest {
		return -1
	}
	full.sort()
	var best *victims
	var first entry
	for _, h := range c.open {
		v := fewest(full.tenants[h], limit, f.short(full, h, c.demand), best)
		if v == nil {
			continue
		}
		s := c.score(f, h)
		e := entry{s, f.lot(c.seed, h), h}
		if v.better(best) || !best.better(v) && e.better(first) {
			best, first = v, e
		}
	}
	if best == nil {
		return -1
	}
	host := first.host
	for _, t := range best.who {
		t.m.ending = true
		full.leaves(host, t.m)
		p.pushes = append(p.pushes, push{t.m, a.m.name(), fmt.Sprintf("makes room for %s: priority %d, its own is %d", a.m.name(), limit, t.priority)})
	}
	full.tenants[host] = slices.DeleteFunc(full.tenants[host], func(t tenant) bool { return t.m.ending })
	a.owed = f.hosts[host].ID
	return host
}

// ending says that these jails end, in a few words.
func ending(names []fsm.JailName) string {
	slices.Sort(names)
	const few = 3
	var b strings.Builder
	for i, n := range names[:min(few, len(names))] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(n))
	}
	if more := len(names) - few; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	if len(names) == 1 {
		return b.String() + " ends"
	}
	return b.String() + " end"
}
