package hostagent

import (
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// quickCheck is the least time between two checks.
const quickCheck = 100 * time.Millisecond

// rhythm decides when a service is checked, and what the answers mean. Until it
// was healthy once it is checked more often than its interval says, because what
// depends on the jail waits for that; such early failures count no more than
// those at the interval would.
type rhythm struct {
	interval, grace time.Duration
	most            int // failures in a row that make it unhealthy

	begun    time.Time
	counted  time.Time // when the last failure was counted
	failures int
	well     bool // it was healthy once
}

func newRhythm(c *spec.Check, now time.Time) *rhythm {
	return &rhythm{interval: max(c.Interval, quickCheck), grace: c.Grace, most: max(c.Failures, 1), begun: now}
}

// next takes the answer to a check and returns the verdict, "" for none yet, and
// how long to wait for the next check. A jail that takes long to begin is asked
// less and less often: a check may be a process that takes its time, too.
func (r *rhythm) next(ok bool, now time.Time) (verdict fsm.Health, wait time.Duration) {
	age := now.Sub(r.begun)
	wait = r.interval
	if !r.well {
		wait = min(r.interval, max(quickCheck, age/10))
	}
	switch {
	case ok:
		r.well, r.failures = true, 0
		return fsm.HealthHealthy, r.interval
	case age < r.grace, !r.well && r.failures > 0 && now.Sub(r.counted) < r.interval:
		return "", wait
	}
	r.failures++
	r.counted = now
	if r.failures >= r.most {
		return fsm.HealthUnhealthy, wait
	}
	if r.failures == 1 {
		wait = quickCheck // once more, to be sure
	}
	return "", wait
}
