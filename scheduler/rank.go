package scheduler

import (
	"math"
	"slices"
)

// entry is a host with its score. Of two entries the one with more points is
// better, of equals the one that the lot falls on.
type entry struct {
	points int64
	lot    uint32
	host   int32
}

func (e entry) better(o entry) bool {
	if e.points != o.points {
		return e.points > o.points
	}
	return e.lot < o.lot || e.lot == o.lot && e.host < o.host
}

// heap has its best entry first.
type heap []entry

func (h heap) build() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}

// sink moves entry i down to where it belongs; needed after it got worse, or
// was replaced.
func (h heap) sink(i int) {
	e := h[i]
	for {
		k := 2*i + 1
		if k >= len(h) {
			break
		}
		if k+1 < len(h) && h[k+1].better(h[k]) {
			k++
		}
		if !h[k].better(e) {
			break
		}
		h[i] = h[k]
		i = k
	}
	h[i] = e
}

// dropFirst removes the best entry.
func (h heap) dropFirst() heap {
	n := len(h) - 1
	h[0] = h[n]
	h = h[:n]
	if n > 1 {
		h.sink(0)
	}
	return h
}

// ranked returns a function that gives the best host for one more jail of the
// class, -1 when none is left. Between two calls the host given last may be
// put to use, and nothing else may change.
func (c *class) ranked(f *fleet, n int) func() int32 {
	if n == 1 {
		return func() int32 { return c.best(f) }
	}
	if c.mode == spreadLabel {
		return newDomains(c, f).next
	}
	h := heap(f.entries[:0])
	for _, i := range c.open {
		if f.seats[i].fits(c.demand) {
			h = append(h, c.entry(f, i))
		}
	}
	f.entries = h
	h.build()
	given := false
	return func() int32 {
		if given {
			h = c.refresh(f, h)
		}
		given = true
		if len(h) == 0 {
			return -1
		}
		return h[0].host
	}
}

// best looks at every open host once. It is own and shared written out: this
// loop is all the work for a jail that is like no other.
func (c *class) best(f *fleet) int32 {
	d, seats, bonus, count := c.demand, f.seats, c.bonus, c.count
	best, host, lot := int64(math.MinInt64), int32(-1), uint32(0)
	for _, i := range c.open {
		t := &seats[i]
		if t.freeCPU < d.MilliCPU || t.freeMem < d.MemoryBytes || t.freeJails < d.Jails {
			continue
		}
		p := t.use(d.MilliCPU, c.kib)
		if !c.pack {
			p = loadPoints - p
		}
		p += bonus[i]
		switch c.mode {
		case spreadMild:
			if n := count[i]; n == 0 { // dividing is what costs most here
				p += mildSpread
			} else {
				p += mildSpread / int64(1+n)
			}
		case spreadHost:
			p += (1 - int64(count[i])) * pointsPerOne
		case spreadLabel:
			p += (1 - int64(count[c.of[i]])) * pointsPerOne
		}
		if i == c.avoid {
			p += failedHere
		}
		switch {
		case p > best:
			best, host, lot = p, i, f.lot(c.seed, i)
		case p == best && host >= 0:
			if l := f.lot(c.seed, i); l < lot {
				host, lot = i, l
			}
		}
	}
	return host
}

// refresh looks again at the first host of h, which was put to use.
func (c *class) refresh(f *fleet, h heap) heap {
	if first := h[0].host; f.seats[first].fits(c.demand) {
		h[0].points = c.own(f, first)
		h.sink(0)
		return h
	}
	return h.dropFirst()
}

// domains ranks hosts under a spread over a label: a heap of hosts for every
// domain, and over these a heap of domains by their best host. Using a host
// changes its own score and its domain's term only, so both are repaired in
// O(log n).
type domains struct {
	c     *class
	f     *fleet
	heaps []heap // by domain
	top   heap   // best host of every domain that has one, shared term included
	given bool
}

func newDomains(c *class, f *fleet) *domains {
	d := &domains{c: c, f: f}
	if len(f.heaps) < c.domains {
		f.heaps = slices.Grow(f.heaps, c.domains-len(f.heaps))[:c.domains]
	}
	d.heaps = f.heaps[:c.domains]
	for i := range d.heaps {
		d.heaps[i] = d.heaps[i][:0]
	}
	for _, h := range c.open {
		if f.seats[h].fits(c.demand) {
			k := c.of[h]
			d.heaps[k] = append(d.heaps[k], c.entry(f, h))
		}
	}
	d.top = heap(f.tops[:0])
	for k, h := range d.heaps {
		if len(h) > 0 {
			h.build()
			d.top = append(d.top, d.first(int32(k)))
		}
	}
	d.top.build()
	f.tops = d.top
	return d
}

// first is the best host of domain k, with all terms.
func (d *domains) first(k int32) entry {
	e := d.heaps[k][0]
	e.points += d.c.shared(k)
	return e
}

func (d *domains) next() int32 {
	if d.given {
		d.repair()
	}
	d.given = true
	if len(d.top) == 0 {
		return -1
	}
	return d.top[0].host
}

// repair looks again at the domain that was given last.
func (d *domains) repair() {
	k := d.c.of[d.top[0].host]
	d.heaps[k] = d.c.refresh(d.f, d.heaps[k])
	if len(d.heaps[k]) == 0 {
		d.top = d.top.dropFirst()
		return
	}
	d.top[0] = d.first(k)
	d.top.sink(0)
}
