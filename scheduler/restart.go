package scheduler

import (
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// minStable is the shortest time of health after which a failure counts as
// the first one again.
const minStable = time.Minute

// jitterPermille spreads restarts by up to this much to either side, so that
// jails that fell together do not come back together.
const jitterPermille = 200

// again is whether and when an ended jail may start again.
type again struct {
	attempt int      // failures in a row before the new Run
	due     fsm.Time // not before; 0: at once
	refused string   // not empty: never without the user
}

func (a again) wait(now fsm.Time) string {
	return fmt.Sprintf("backs off: attempt %d starts in %v", a.attempt, a.due.Sub(now).Round(time.Millisecond))
}

// retry judges m, which has no live Run.
func retry(m *member) again {
	r := m.run
	// Ended on our account, on a host that is gone, or of an older wish:
	// that was no failure of the jail as it is wished now.
	if r == nil || r.StopWhy != "" || r.Phase == fsm.Lost || !m.current() {
		return again{}
	}
	pol := withDefaults(m.jail.Spec.Restart)
	switch {
	case pol.Policy == "never":
		return again{refused: ended(r) + ", and its restart policy is never: rexctl jail restart " + string(m.name())}
	case pol.Policy == "on-failure" && !failed(r):
		return again{refused: ended(r) + ", and its restart policy is on-failure"}
	}
	attempt := r.Attempt + 1
	if r.HealthyAt != 0 && r.EndedAt.Sub(r.HealthyAt) >= max(10*pol.Backoff, minStable) {
		attempt = 1
	}
	if pol.Attempts > 0 && attempt > pol.Attempts {
		return again{attempt: attempt, refused: fmt.Sprintf("gave up after %d attempts: %s: rexctl logs %s, then rexctl jail restart %s",
			pol.Attempts, ended(r), m.name(), m.name())}
	}
	return again{attempt: attempt, due: r.EndedAt.Add(backoff(pol, attempt, m.name(), r.Seq))}
}

// done reports whether m ended well and its policy lets it rest.
func done(m *member) bool {
	return m.run != nil && m.run.Phase.Over() && m.current() && !failed(m.run) && m.run.StopWhy == "" &&
		m.jail.Spec.Restart.Policy != "always" && m.jail.Spec.Restart.Policy != ""
}

func withDefaults(r spec.Restart) spec.Restart {
	if r.Backoff <= 0 {
		r.Backoff = time.Second
	}
	if r.MaxBackoff <= 0 {
		r.MaxBackoff = 5 * time.Minute
	}
	return r
}

// backoff doubles from Backoff to MaxBackoff, moved by a jitter that depends
// on the jail and its Seq alone.
func backoff(r spec.Restart, attempt int, jail fsm.JailName, seq uint64) time.Duration {
	d := r.Backoff
	for i := 1; i < attempt && d < r.MaxBackoff; i++ {
		d *= 2
	}
	d = min(d, r.MaxBackoff)
	j := int64(hash(string(jail), seq)%(2*jitterPermille+1)) - jitterPermille
	return d + d/1000*time.Duration(j)
}

// hash is FNV-1a over s and n, finished with a mixing step because its low
// bits alone are weak for inputs that differ in the last byte only.
func hash(s string, n uint64) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	for range 8 {
		h = (h ^ n&0xff) * 1099511628211
		n >>= 8
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// failed reports whether r ended by itself in another way than with code 0.
func failed(r *fsm.Run) bool {
	return r.Phase == fsm.Failed || r.Exit == nil || !r.Exit.Known || r.Exit.Code != 0 || r.Exit.Signal != "" || r.Exit.OOM
}

// ended says how r ended.
func ended(r *fsm.Run) string {
	why := ""
	if r.Reason != "" {
		why = " (" + r.Reason + ")"
	}
	switch e := r.Exit; {
	case e == nil && r.Phase == fsm.Failed:
		return "failed" + why
	case e == nil || !e.Known:
		return "ended, nobody saw how" + why
	case e.OOM:
		return "ran out of memory" + why
	case e.Signal != "":
		return "ended by signal " + e.Signal + why
	default:
		return fmt.Sprintf("ended with code %d%s", e.Code, why)
	}
}
