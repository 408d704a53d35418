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

	// What this leader remembers from look to look; both by its own clock, which
	// does not jump while it runs.
	lost map[fsm.HostID]time.Time // since when it knows that a host is lost
	gone map[fsm.HostID]time.Time // by when a host that it has called lost will have stopped what it ran
}

// judge says who is lost and who is back. Two witnesses make a host lost fast:
// gossip has found it dead, and it has not called the leader.
//
// A member stops its jails fence after it has sent the last call that a leader
// answered, when all that this leader had committed by then was applied there.
// This leader has heard that call after it was sent, or else an earlier one did,
// before this one led. So when the wait is over, the jails are stopped: by the
// member, which heard nobody, or because it has read here that its Runs are lost.
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
		case h.FencedAt != 0 && w.now.After(w.stopped(h.ID)):
			out = append(out, fsm.MarkHost{Host: h.ID, State: h.State, Over: true, Why: "it has surely stopped what it ran"})
		case h.ID == w.me:
			if h.State == fsm.HostLost {
				out = append(out, fsm.MarkHost{Host: h.ID, State: fsm.HostAlive, Why: "it leads"})
			}
		case h.State == fsm.HostLost:
			since, known := w.lost[h.ID]
			if !known {
				w.lost[h.ID] = w.now
			} else if called && quiet < quietBack && c.At.After(since) && !dead {
				out = append(out, fsm.MarkHost{Host: h.ID, State: fsm.HostAlive, Why: "it answers again"})
			}
		case dead && quiet > quietDead, quiet > quietAlone:
			why := fmt.Sprintf("no answer for %s", quiet.Round(100*time.Millisecond))
			if dead {
				why += ", and found dead by other hosts"
			}
			w.gone[h.ID] = last.Add(w.fence + stopLimit)
			out = append(out, fsm.MarkHost{Host: h.ID, State: fsm.HostLost, Why: why, Fence: fsm.TimeOf(w.gone[h.ID])})
		}
		if h.State != fsm.HostLost {
			delete(w.lost, h.ID)
		}
	}
	return out
}

// stopped is by when the host will have stopped what it ran when it was called
// lost. Of those that an earlier leader has called lost, only this is known:
// they have heard no leader since this one leads, or have read what it says.
func (w watched) stopped(id fsm.HostID) time.Time {
	if at, ok := w.gone[id]; ok {
		return at
	}
	return w.since.Add(w.fence + stopLimit)
}
