package dhcpd

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// limiter lets each client do something burst times at once, and once per
// every in the long run. Clients share slots by chance: its size is fixed,
// however many strangers there are.
type limiter struct {
	every time.Duration
	burst int
	size  int
	seed  maphash.Seed

	mu    sync.Mutex
	slots []fsm.Time // when all that was done would be paid off; made with the first client
}

func newLimiter(size, burst int, every time.Duration) *limiter {
	return &limiter{every: every, burst: burst, size: size, seed: maphash.MakeSeed()}
}

func (l *limiter) allow(client string, now fsm.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slots == nil {
		l.slots = make([]fsm.Time, l.size)
	}
	slot := &l.slots[maphash.String(l.seed, client)%uint64(l.size)]
	paid := max(*slot, now)
	if paid.Sub(now) > time.Duration(l.burst-1)*l.every {
		return false
	}
	*slot = paid.Add(l.every)
	return true
}
