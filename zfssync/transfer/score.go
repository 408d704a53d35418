package transfer

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// penalty of one fault; halved each halfLife. A liar is asked again only when nobody else is left, for about an hour.
var penalty = map[string]float64{faultLie: 1000, faultStall: 4, faultCut: 2, faultBusy: 0.25, faultRefused: 0.5}

const halfLife = 6 * time.Minute

// scores remember how sources behaved.
type scores struct {
	mu   sync.Mutex // guards last
	last map[string]score
	now  func() time.Time
}

type score struct {
	points float64
	at     time.Time
}

func newScores(now func() time.Time) *scores { return &scores{last: map[string]score{}, now: now} }

// blame notes a fault of a source.
func (s *scores) blame(source, fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.last[source] = score{s.points(source, now) + penalty[fault], now}
}

// points of a source; the caller holds mu.
func (s *scores) points(source string, now time.Time) float64 {
	was, ok := s.last[source]
	if !ok {
		return 0
	}
	return was.points * math.Exp2(-float64(now.Sub(was.at))/float64(halfLife))
}

// order returns the sources, best first: by how they behaved, then those that should have it, then those from which
// fewest streams come now. Those that are alike stay as they were given.
func (s *scores) order(sources []Source, busy map[string]int) []Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	points := make(map[string]float64, len(sources))
	for _, src := range sources {
		points[src.Name] = math.Floor(4 * s.points(src.Name, now)) // a trace of an old fault is none
	}
	out := slices.Clone(sources)
	slices.SortStableFunc(out, func(a, b Source) int {
		return cmp.Or(cmp.Compare(points[a.Name], points[b.Name]), yes(a.Doubtful)-yes(b.Doubtful), busy[a.Name]-busy[b.Name])
	})
	return out
}

func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}
