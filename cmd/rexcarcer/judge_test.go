package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/cluster/gossip"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
)

// TestTwoWitnessesMakeAHostLost goes through what gossip and the calls to the
// leader can say of a host.
func TestTwoWitnessesMakeAHostLost(t *testing.T) {
	t.Parallel()
	const never = -1
	now := time.Unix(1_900_000_000, 0)
	for _, c := range []struct {
		name  string
		state fsm.HostState
		quiet time.Duration // since its last call; never: since it leads, a minute
		seen  string        // alive, dead or nothing
		want  string
	}{
		{"all is well", fsm.HostAlive, time.Second, "alive", ""},
		{"a short silence", fsm.HostAlive, 5 * time.Second, "alive", ""},
		{"gossip is wrong", fsm.HostAlive, time.Second, "dead", ""},
		{"dead", fsm.HostAlive, 3 * time.Second, "dead", "lost"},
		{"dead while it drained", fsm.HostDraining, 3 * time.Second, "dead", "lost"},
		{"it cannot reach the leader", fsm.HostAlive, 20 * time.Second, "alive", "lost"},
		{"no gossip", fsm.HostAlive, 20 * time.Second, "", "lost"},
		{"no gossip, a short silence", fsm.HostAlive, 5 * time.Second, "", ""},
		{"never heard by this leader", fsm.HostAlive, never, "dead", "lost"},
		{"lost, and still", fsm.HostLost, never, "dead", ""},
		{"back", fsm.HostLost, time.Second, "alive", "alive"},
		{"back, gossip does not know yet", fsm.HostLost, time.Second, "dead", ""},
		{"back without gossip", fsm.HostLost, time.Second, "", "alive"},
	} {
		st := stage.New()
		st.AddHost("h1", 1, 1<<30, nil)
		if c.state != fsm.HostAlive {
			st.Must(fsm.MarkHost{Host: "h1", State: c.state})
		}
		w := watched{now: now, me: "h9", since: now.Add(-time.Minute), heard: map[fsm.HostID]cluster.Contact{}, fence: 5 * time.Second}
		last := w.since
		if c.quiet != never {
			last = now.Add(-c.quiet)
			w.heard["h1"] = cluster.Contact{At: last}
		}
		if c.seen != "" {
			w.seen = map[string]gossip.Seen{"h1": {Alive: c.seen == "alive"}}
		}
		got := ""
		for _, m := range w.judge(st.S) {
			got += string(m.State)
			if m.State == fsm.HostLost && m.Fence != fsm.TimeOf(last.Add(5*time.Second+stopLimit)) {
				t.Errorf("%s: fenced at %s, last heard at %s", c.name, m.Fence.Time(), last)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	st := stage.New()
	st.AddHost("h1", 1, 1<<30, nil)
	st.Must(fsm.MarkHost{Host: "h1", State: fsm.HostLost})
	if got := (watched{now: now, me: "h1"}).judge(st.S); len(got) != 1 || got[0].State != fsm.HostAlive {
		t.Errorf("a leader that is called lost: %s", fmt.Sprint(got))
	}
}
