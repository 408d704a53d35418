package main

import (
	"context"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// abuses records what members asked for that is another's. What one member
// can fill the log with is bounded.
type abuses struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu; by member
	wg   sync.WaitGroup
}

// abuseEvery is how often one member's abuse becomes an event.
const abuseEvery = 10 * time.Second

// abuse logs it, and makes it an event where this host leads: everything that
// needs the log comes to the leader.
func (d *daemon) abuse(peer pki.ID, what, why string) {
	d.log.Warn("a member asked for what is not its own", "peer", peer.String(), "to", what, "why", why)
	if leads, _ := d.node.Leader(); !leads {
		return
	}
	if _, known := d.node.State().Hosts.Get(peer.Name); !known {
		return
	}
	a := &d.abuses
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		a.last = map[string]time.Time{}
	}
	if time.Since(a.last[peer.Name]) < abuseEvery {
		return
	}
	a.last[peer.Name] = time.Now()
	a.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := d.node.Propose(ctx, "cluster", fsm.ReportAbuse{Host: fsm.HostID(peer.Name), What: what, Why: why}); err != nil {
			d.log.Warn("what a member asked for is not recorded", "peer", peer.String(), "err", err)
		}
	})
}
