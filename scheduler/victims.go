package scheduler

import (
	"cmp"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// tenant is a jail that may be pushed out of its host.
type tenant struct {
	m        *member
	priority int
	res      fsm.Resources
}

// victims is a choice among the tenants of one host.
type victims struct {
	highest int // priority of the most important one
	sum     int // of their priorities
	who     []tenant
}

// better: nobody important goes where less important ones will do; then the
// fewest go; then the least important.
func (v *victims) better(o *victims) bool {
	if o == nil || v.highest != o.highest {
		return o == nil || v.highest < o.highest
	}
	return cmp.Or(cmp.Compare(len(v.who), len(o.who)), cmp.Compare(v.sum, o.sum)) < 0
}

// searchSteps bounds the search on one host. It is exact for what hosts carry
// in life, where most jails are alike; past it a good choice has to do.
const searchSteps = 20_000

// fewest is the best choice among tenants with a priority below limit that
// makes up for short, the room that is missing; nil if all of them together
// would not. tenants are sorted by priority, then name; of equally good choices
// the one with earlier tenants is taken. than is the best of another host: what
// cannot beat it need not be found.
func fewest(tenants []tenant, limit int, short fsm.Resources, than *victims) *victims {
	highest, ok := ceiling(tenants, limit, short)
	if !ok || than != nil && highest > than.highest {
		return nil
	}
	s := &search{short: short}
	for _, t := range tenants {
		if t.priority <= highest && covers(t.res, short) {
			s.tenants = append(s.tenants, t)
		}
	}
	for n := s.atLeast(); n <= len(s.tenants); n++ {
		if than != nil && highest == than.highest && n > len(than.who) {
			return nil
		}
		s.try(0, n, short, 0)
		if s.found != nil || s.steps > searchSteps {
			break
		}
	}
	if s.found == nil {
		s.greedy()
	}
	v := &victims{highest: highest}
	for _, i := range s.found {
		v.who = append(v.who, s.tenants[i])
		v.sum += s.tenants[i].priority
	}
	return v
}

// ceiling is the lowest priority up to which all must be asked.
func ceiling(tenants []tenant, limit int, short fsm.Resources) (int, bool) {
	for i := 0; i < len(tenants) && tenants[i].priority < limit; {
		p := tenants[i].priority
		for ; i < len(tenants) && tenants[i].priority == p; i++ {
			short = short.Sub(tenants[i].res)
		}
		if enough(short) {
			return p, true
		}
	}
	return 0, false
}

func enough(short fsm.Resources) bool {
	return short.MilliCPU <= 0 && short.MemoryBytes <= 0 && short.Jails <= 0
}

// covers: res has something of what is missing.
func covers(res, short fsm.Resources) bool {
	return short.MilliCPU > 0 && res.MilliCPU > 0 || short.MemoryBytes > 0 && res.MemoryBytes > 0 || short.Jails > 0 && res.Jails > 0
}

// search looks for n tenants that cover short: those before others come first,
// and the first of equally good choices stays.
type search struct {
	short   fsm.Resources
	tenants []tenant
	steps   int
	chosen  []int
	found   []int
	sum     int // of the priorities of found
}

// try chooses n more from tenants[from:]. Tenants are sorted by priority, so n
// times the next one's is the least that they cost.
func (s *search) try(from, n int, short fsm.Resources, sum int) {
	if s.steps++; s.steps > searchSteps {
		return
	}
	if n == 0 {
		if enough(short) && (s.found == nil || sum < s.sum) {
			s.found, s.sum = slices.Clone(s.chosen), sum
		}
		return
	}
	for i := from; i+n <= len(s.tenants); i++ {
		t := &s.tenants[i]
		if s.found != nil && sum+n*t.priority >= s.sum {
			return
		}
		if i > from && t.priority == s.tenants[i-1].priority && t.res == s.tenants[i-1].res {
			continue // the one before it was tried, and is as good
		}
		s.chosen = append(s.chosen, i)
		s.try(i+1, n-1, short.Sub(t.res), sum+t.priority)
		s.chosen = s.chosen[:len(s.chosen)-1]
	}
}

// atLeast is how many must go, whichever they are.
func (s *search) atLeast() int {
	n := 1
	for _, of := range []func(fsm.Resources) int64{
		func(r fsm.Resources) int64 { return r.MilliCPU },
		func(r fsm.Resources) int64 { return r.MemoryBytes },
		func(r fsm.Resources) int64 { return r.Jails },
	} {
		sizes := make([]int64, len(s.tenants))
		for i := range s.tenants {
			sizes[i] = of(s.tenants[i].res)
		}
		slices.SortFunc(sizes, func(a, b int64) int { return cmp.Compare(b, a) })
		need, k := of(s.short), 0
		for ; k < len(sizes) && need > 0; k++ {
			need -= sizes[k]
		}
		n = max(n, k)
	}
	return n
}

// greedy takes tenants from the least important up until it is enough, then
// lets go whom it does not need, the most important first.
func (s *search) greedy() {
	short := s.short
	s.found = nil
	for i := 0; i < len(s.tenants) && !enough(short); i++ {
		s.found, short = append(s.found, i), short.Sub(s.tenants[i].res)
	}
	for k := len(s.found) - 1; k >= 0; k-- {
		if without := short.Add(s.tenants[s.found[k]].res); enough(without) {
			short = without
			s.found = slices.Delete(s.found, k, k+1)
		}
	}
}
