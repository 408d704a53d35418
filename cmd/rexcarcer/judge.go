package main

import (
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/cluster/gossip"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// How long a host may be silent.
const (
	quietDead  = 2 * time.Second  // it is lost if gossip has found it dead too
	quietAlone = 15 * time.Second // it is lost whatever gossip says: it cannot reach the leader
	quietBack  = 2 * time.Second  // a lost host that was heard within this is back

	// stopLimit is how long a host may need to stop its jails once it has
	// noticed that it is cut off.
	stopLimit = 2 * time.Second
)

// watched is what the leader knows of the members beside the State.
type watched struct {
	now   time.Time
	me    fsm.HostID
	since time.Time // that it leads
	heard map[fsm.HostID]cluster.Contact
	seen  map[string]gossip.Seen
	fence time.Duration // how long a member without a leader waits until it stops its jails
}

// judge says who is lost and who is back. Two witnesses make a host lost fast:
// gossip has found it dead, and it has not called the leader.
//
// A member stops its jails fence after it has sent the last call that a leader
// answered. This leader has heard that call after it was sent, or else an
// earlier one did, before this one led. So what it fences at is late enough.
func (w watched) judge(s *fsm.State) (out []fsm.MarkHost) {
	for id, h := range s.Hosts.All {
		last := w.since
		c, called := w.heard[h.ID]
		if called {
			last = c.At
		}
		quiet := w.now.Sub(last)
		seen, known := w.seen[id]
		dead := known && !seen.Alive
		switch {
		case h.State == fsm.HostJoining:
		case h.ID == w.me:
			if h.State == fsm.HostLost {
				out = append(out, fsm.MarkHost{Host: h.ID, State: fsm.HostAlive, Why: "it leads"})
			}
		case h.State == fsm.HostLost:
			if called && quiet < quietBack && c.At.After(h.SeenAt.Time()) && !dead {
				out = append(out, fsm.MarkHost{Host: h.ID, State: fsm.HostAlive, Why: "it answers again"})
			}
		case dead && quiet > quietDead, quiet > quietAlone:
			why := fmt.Sprintf("no answer for %s", quiet.Round(100*time.Millisecond))
			if dead {
				why += ", and found dead by other hosts"
			}
			out = append(out, fsm.MarkHost{Host: h.ID, State: fsm.HostLost, Why: why, Fence: fsm.TimeOf(last.Add(w.fence + stopLimit))})
		}
	}
	return out
}
