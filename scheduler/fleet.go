package scheduler

import (
	"math"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// fleet is the hosts as arrays: a host is its place in them, in the order of
// ids.
type fleet struct {
	s     *fsm.State
	hosts []*fsm.Host
	seats []seat
	marks []uint64 // hashes of the ids, see lot
	index map[fsm.HostID]int32

	rules   map[string]*rules    // by what they ask, see rulesFor
	labels  map[string]*division // by label key
	tally   tally
	entries []entry // buffers of place, kept between batches
	heaps   []heap
	tops    []entry
}

// seat is what a host has left and how full it is, in one cache line.
type seat struct {
	freeCPU, freeMem, freeJails int64 // thousandths of a core, bytes, jails
	// used is how full it is with one jail of no demand more, times
	// 1<<shareShift; the other three are what a thousandth of a core, a KiB
	// and a jail add to it, 0 where there is no limit.
	used                    int64
	perCPU, perKiB, perJail int64
	jails                   int64
}

const (
	full       = 1_000_000 // share of a resource that is used up
	shareShift = 30        // keeps shares exact to a millionth up to 1 TiB
	// crowd is how many jails a core carries before the number of jails alone
	// makes a host count as full. It matters for jails without limits.
	crowd = 100
)

// fleet is built at first use: most passes place nothing.
func (p *pass) fleet() *fleet {
	if p.f != nil {
		return p.f
	}
	n := p.s.Hosts.Len()
	f := &fleet{
		s: p.s, hosts: make([]*fsm.Host, 0, n), seats: make([]seat, 0, n), marks: make([]uint64, 0, n), index: make(map[fsm.HostID]int32, n),
		rules: map[string]*rules{}, labels: map[string]*division{},
	}
	for id, h := range p.s.Hosts.All {
		f.index[fsm.HostID(id)] = int32(len(f.hosts))
		used, _ := p.s.Load.Get(id)
		f.hosts = append(f.hosts, h)
		f.seats = append(f.seats, newSeat(h.Capacity, used))
		f.marks = append(f.marks, hash(id, 0))
	}
	f.reserveForMoves()
	p.f = f
	return f
}

func newSeat(c, used fsm.Resources) seat {
	const endless = math.MaxInt64 / 4
	t := seat{freeCPU: endless, freeMem: endless, freeJails: endless}
	room := max(crowd, crowd*c.MilliCPU/1000)
	if c.MilliCPU > 0 {
		t.freeCPU, t.perCPU = c.MilliCPU, (full<<shareShift)/c.MilliCPU
	}
	if c.MemoryBytes > 0 {
		t.freeMem, t.perKiB = c.MemoryBytes, (full<<shareShift)/max(1, c.MemoryBytes>>10)
	}
	if c.Jails > 0 {
		t.freeJails, room = c.Jails, c.Jails
	}
	t.perJail = (full << shareShift) / room
	t.used = t.perJail
	t.take(used)
	return t
}

// fits reports whether d goes into what is left.
func (t *seat) fits(d fsm.Resources) bool {
	return t.freeCPU >= d.MilliCPU && t.freeMem >= d.MemoryBytes && t.freeJails >= d.Jails
}

// take reserves d; a negative d gives back.
func (t *seat) take(d fsm.Resources) {
	t.freeCPU -= d.MilliCPU
	t.freeMem -= d.MemoryBytes
	t.freeJails -= d.Jails
	t.jails += d.Jails
	t.used += d.MilliCPU*t.perCPU + (d.MemoryBytes>>10)*t.perKiB + d.Jails*t.perJail
}

// use is how full the host is with a jail of cpu and kib on it: 0 empty,
// 3*full when processors, memory and places are all used up.
func (t *seat) use(cpu, kib int64) int64 {
	return (t.used + cpu*t.perCPU + kib*t.perKiB) >> shareShift
}

// division sorts hosts into the domains of one label: hosts of one value,
// and all that lack the label together.
type division struct {
	of []int32 // domain by host
	n  int
}

func (f *fleet) divide(label string) *division {
	if d := f.labels[label]; d != nil {
		return d
	}
	d := &division{of: make([]int32, len(f.hosts))}
	seen := map[string]int32{}
	for i, h := range f.hosts {
		v, ok := h.Labels[label]
		if ok {
			v = "=" + v // so that the empty value differs from no label
		}
		k, known := seen[v]
		if !known {
			k = int32(len(seen))
			seen[v] = k
		}
		d.of[i] = k
	}
	d.n = len(seen)
	f.labels[label] = d
	return d
}

// tally counts the members of one group by domain. It is kept until another
// group or label is asked for.
type tally struct {
	group   *group
	label   string
	count   []int32
	touched []int32
}

// counts returns how many members of g each domain has, those that are being
// stopped left out. of maps hosts to n domains; nil: each host is its own.
func (f *fleet) counts(g *group, label string, of []int32, n int) []int32 {
	t := &f.tally
	if t.group == g && t.label == label {
		return t.count
	}
	for _, d := range t.touched {
		t.count[d] = 0
	}
	t.group, t.label, t.touched = g, label, t.touched[:0]
	if len(t.count) < n {
		t.count = make([]int32, n)
	}
	for i := range g.members {
		if h := f.hostOf(&g.members[i]); h >= 0 {
			f.tallyUp(of, h)
		}
	}
	return t.count
}

func (f *fleet) tallyUp(of []int32, h int32) {
	if of != nil {
		h = of[h]
	}
	f.tally.count[h]++
	f.tally.touched = append(f.tally.touched, h)
}

// hostOf is where m is or will be; -1: nowhere that counts.
func (f *fleet) hostOf(m *member) int32 {
	if m.placed > 0 {
		return m.placed - 1
	}
	if !m.live() || m.run.StopWhy != "" || m.ending {
		return -1
	}
	if h, ok := f.index[m.run.Host]; ok {
		return h
	}
	return -1
}
