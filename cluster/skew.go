package cluster

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Skew is how far this host's clock is from that of the leader, as the last
// pings have shown.
type Skew struct {
	Leader fsm.HostID
	Behind time.Duration // so far this clock is behind the leader's; below 0: ahead
	Within time.Duration // the measure's own error: half the way there and back
	At     time.Time     // of this clock
}

// skewPings is of how many pings the best one counts: the one that was back
// first, for its error is the smallest (as NTP chooses, RFC 5905 section 10).
const skewPings = 8

// skew measures it, ping by ping.
type skew struct {
	mu    sync.Mutex
	last  []Skew // guarded by mu; of the same leader, oldest first
	gauge prometheus.Gauge
}

// heard takes one answer to a ping that was sent at begin and back at end.
func (k *skew) heard(begin, end time.Time, from fsm.HostID, p Pong) {
	if !p.Leading || p.Now == 0 {
		return
	}
	way := end.Sub(begin) // by the clock that does not jump
	there := time.Unix(0, p.Now)
	s := Skew{Leader: from, Behind: there.Sub(begin.Round(0).Add(way / 2)), Within: way / 2, At: begin}
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.last); n > 0 && k.last[n-1].Leader != from {
		k.last = nil
	}
	if k.last = append(k.last, s); len(k.last) > skewPings {
		k.last = k.last[1:]
	}
	k.gauge.Set(-k.best().Behind.Seconds())
}

// lead forgets: a leader has nobody to compare itself with.
func (k *skew) lead() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = nil
	k.gauge.Set(0)
}

func (k *skew) best() Skew {
	best := k.last[0]
	for _, s := range k.last[1:] {
		if s.Within <= best.Within {
			best = s
		}
	}
	return best
}

// Skew is how far this host's clock is from the leader's; false while this host
// leads or has not heard a leader lately.
func (n *Node) Skew() (Skew, bool) {
	n.skew.mu.Lock()
	defer n.skew.mu.Unlock()
	if len(n.skew.last) == 0 || n.cfg.Clock().Sub(n.skew.last[len(n.skew.last)-1].At) > skewLife {
		return Skew{}, false
	}
	return n.skew.best(), true
}

// skewLife is for how long a measure counts.
const skewLife = time.Minute
