package scheduler

import (
	"strconv"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Points are scores as integers: one is pointsPerOne points. The number is
// such that no term needs a rounded division per host.
//
// Between any two hosts the terms other than spread differ by less than one
// (load by 0.40, affinity by 0.25, image by 0.05, retry by 0.25), so an
// explicit spread, which moves in steps of one, comes before all of them.
const (
	pointsPerOne = 7_500_000

	loadPoints     = 3 * full              // 0.40: an empty host (or, with binpack, a full one)
	likedPoints    = pointsPerOne / 8      // 0.125: all affinities hold; as much below 0 for negative weights
	imageHere      = pointsPerOne / 20     // 0.05: nothing has to be sent
	failedHere     = -pointsPerOne / 4     // the host on which it failed twice in a row
	mildSpread     = pointsPerOne * 4 / 10 // first of its group there, spread not asked for
	retryElsewhere = 2                     // failures in a row from which another host is preferred
)

// spreading says how members of a group keep apart.
type spreading uint8

const (
	spreadNone  spreading = iota // not asked for, and binpack or a group of one
	spreadMild                   // not asked for: prefer other hosts a little
	spreadHost                   // spread = "host"
	spreadLabel                  // spread = label key
)

// class is jails that every host scores alike.
type class struct {
	*rules
	demand  fsm.Resources
	kib     int64
	pack    bool
	mode    spreading
	label   string
	of      []int32 // host to domain; nil: each host its own
	domains int
	count   []int32 // members of the group by domain; nil for spreadNone
	avoid   int32   // host on which it failed; -1: none
	seed    uint64  // of the lot among hosts of equal score
}

// classOf prepares the scoring of m and of all that askSame says are like it.
func (f *fleet) classOf(m *member, attempt int) *class {
	j := &m.jail.Spec
	c := &class{rules: f.rulesFor(m), demand: fsm.Demand(j), pack: j.Place.BinPack, domains: len(f.hosts), avoid: -1, seed: seedOf(m, attempt)}
	c.kib = c.demand.MemoryBytes >> 10
	switch {
	case j.Place.Spread == "" && (j.Place.BinPack || len(m.g.members) == 1):
		c.mode = spreadNone
	case j.Place.Spread == "":
		c.mode = spreadMild
	case j.Place.Spread == "host":
		c.mode = spreadHost
	default:
		c.mode, c.label = spreadLabel, j.Place.Spread
		d := f.divide(c.label)
		c.of, c.domains = d.of, d.n
	}
	if attempt >= retryElsewhere && m.run != nil {
		if h, ok := f.index[m.run.Host]; ok {
			c.avoid = h
		}
	}
	c.recount(f, m.g)
	return c
}

// recount looks again at where the members of g are.
func (c *class) recount(f *fleet, g *group) {
	if c.mode == spreadNone {
		f.tally.group = nil // its placements are not counted
		return
	}
	c.count = f.counts(g, c.label, c.of, c.domains)
}

// own is the score of h without a term that depends on other hosts; it is the
// whole score unless the group spreads over a label.
func (c *class) own(f *fleet, h int32) int64 {
	p := c.load(&f.seats[h]) + c.bonus[h]
	switch c.mode {
	case spreadMild:
		p += mildSpread / int64(1+c.count[h])
	case spreadHost:
		p += (1 - int64(c.count[h])) * pointsPerOne
	}
	if h == c.avoid {
		p += failedHere
	}
	return p
}

func (c *class) load(t *seat) int64 {
	use := t.use(c.demand.MilliCPU, c.kib)
	if c.pack {
		return use
	}
	return loadPoints - use
}

// shared is the term of all hosts of domain d.
func (c *class) shared(d int32) int64 {
	if c.mode != spreadLabel {
		return 0
	}
	return (1 - int64(c.count[d])) * pointsPerOne
}

// score is all of it.
func (c *class) score(f *fleet, h int32) int64 {
	if c.mode == spreadLabel {
		return c.own(f, h) + c.shared(c.of[h])
	}
	return c.own(f, h)
}

// Term is one part of a score. The score of a host is the sum of its terms.
type Term struct {
	Name  string  `json:"name"` // spread, load or binpack, affinity, image, retry
	Value float64 `json:"value"`
}

type term struct {
	name   string
	points int64
}

// terms lists what makes up the score of h, in fixed order.
func (c *class) terms(f *fleet, h int32) []term {
	ts := make([]term, 0, 5)
	switch c.mode {
	case spreadMild:
		ts = append(ts, term{"spread", mildSpread / int64(1+c.count[h])})
	case spreadHost:
		ts = append(ts, term{"spread", (1 - int64(c.count[h])) * pointsPerOne})
	case spreadLabel:
		ts = append(ts, term{"spread", c.shared(c.of[h])})
	}
	name := "load"
	if c.pack {
		name = "binpack"
	}
	ts = append(ts, term{name, c.load(&f.seats[h])})
	here := imagePoints(&c.need, f.hosts[h])
	if liked := c.bonus[h] - here; liked != 0 {
		ts = append(ts, term{"affinity", liked})
	}
	if here != 0 {
		ts = append(ts, term{"image", here})
	}
	if h == c.avoid {
		ts = append(ts, term{"retry", failedHere})
	}
	return ts
}

// appendTerms writes "spread +0.33 binpack +0.41".
func appendTerms(b []byte, ts []term) []byte {
	for i, t := range ts {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, t.name...)
		b = append(b, ' ')
		b = appendPoints(b, t.points)
	}
	return b
}

// appendPoints writes hundredths with a sign, rounded away from zero at half.
func appendPoints(b []byte, p int64) []byte {
	sign := byte('+')
	if p < 0 {
		sign, p = '-', -p
	}
	const hundredth = pointsPerOne / 100
	p = (p + hundredth/2) / hundredth
	b = append(b, sign)
	if p >= 1000 {
		b = append(b, strconv.FormatInt(p/100, 10)...)
	} else {
		b = append(b, byte('0'+p/100))
	}
	return append(b, '.', byte('0'+p/10%10), byte('0'+p%10))
}

// affinityPoints weighs the expressions that hold for h against all.
func affinityPoints(liked []condition, h *fsm.Host) int64 {
	var held, all int64
	for i := range liked {
		w := liked[i].weight
		if liked[i].holds(h) {
			held += w
		}
		all += max(w, -w)
	}
	if all == 0 {
		return 0
	}
	return likedPoints * held / all
}

func imagePoints(n *need, h *fsm.Host) int64 {
	if n.build == nil || !holds(n.build, h.ID) {
		return 0
	}
	return imageHere
}
