package cluster

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestTheClockIsComparedByThePingThatWasBackFirst(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	k := skew{gauge: prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"})}
	const ahead = 3 * time.Second // the leader's clock
	ping := func(there, back time.Duration) {
		end := now.Add(there + back)
		k.heard(now, end, "h1", Pong{Leading: true, Now: now.Add(there + ahead).UnixNano()})
		now = end.Add(time.Second)
	}
	ping(100*time.Millisecond, 0)
	if s := k.best(); s.Behind != ahead+50*time.Millisecond || s.Within != 50*time.Millisecond {
		t.Errorf("by one way alone: behind %v within %v", s.Behind, s.Within)
	}
	ping(time.Millisecond, time.Millisecond)
	ping(0, 80*time.Millisecond)
	if s := k.best(); s.Behind != ahead || s.Within != time.Millisecond {
		t.Errorf("the fast ping says: behind %v within %v, want %v", s.Behind, s.Within, ahead)
	}
	for range skewPings {
		ping(20*time.Millisecond, 20*time.Millisecond)
	}
	if s := k.best(); s.Within != 20*time.Millisecond {
		t.Errorf("an old ping still counts: within %v", s.Within)
	}
	k.heard(now, now, "h2", Pong{Leading: true, Now: now.Add(-time.Minute).UnixNano()})
	if s := k.best(); s.Leader != "h2" || s.Behind != -time.Minute {
		t.Errorf("after another one was elected: %+v", s)
	}
	k.heard(now, now, "h3", Pong{Now: now.UnixNano()})
	k.heard(now, now, "h3", Pong{Leading: true})
	if s := k.best(); s.Leader != "h2" {
		t.Errorf("who does not lead, or says no time, counts: %+v", s)
	}
}
