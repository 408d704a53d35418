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
		w := watched{now: now, me: "h9", since: now.Add(-time.Minute), heard: map[fsm.HostID]cluster.Contact{}, fence: 5 * time.Second,
			lost: map[fsm.HostID]time.Time{"h1": now.Add(-10 * time.Second)}, gone: map[fsm.HostID]time.Time{}}
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

// The wait for a host that was cut off is the leader's own, whatever clocks say.
func TestAFenceIsOverWhenTheLeaderHasWaited(t *testing.T) {
	t.Parallel()
	st := stage.New()
	st.AddHost("h1", 1, 1<<30, nil)
	begun := time.Unix(1_900_000_000, 0)
	w := watched{me: "h9", since: begun.Add(-time.Minute), fence: 5 * time.Second, heard: map[fsm.HostID]cluster.Contact{"h1": {At: begun}},
		seen: map[string]gossip.Seen{"h1": {Alive: false}}, lost: map[fsm.HostID]time.Time{}, gone: map[fsm.HostID]time.Time{}}
	look := func(after time.Duration) []fsm.MarkHost {
		w.now = begun.Add(after)
		out := w.judge(st.S)
		for _, m := range out {
			st.Must(m)
		}
		return out
	}
	if got := look(3 * time.Second); len(got) != 1 || got[0].State != fsm.HostLost {
		t.Fatalf("%+v", got)
	}
	look(4 * time.Second) // this leader has read that it is lost
	w.heard["h1"], w.seen = cluster.Contact{At: begun.Add(5 * time.Second)}, nil
	if got := look(5 * time.Second); len(got) != 1 || got[0].State != fsm.HostAlive {
		t.Fatalf("it called again: %+v", got)
	}
	if h, _ := st.S.Hosts.Get("h1"); h.FencedAt == 0 {
		t.Error("being back ends the fence: what it ran may still run")
	}
	w.heard["h1"] = cluster.Contact{At: begun.Add(6900 * time.Millisecond)}
	if got := look(6900 * time.Millisecond); len(got) != 0 {
		t.Errorf("too early: %+v", got)
	}
	if got := look(7100 * time.Millisecond); len(got) != 1 || !got[0].Over {
		t.Errorf("want the end of the fence: %+v", got)
	}
	st.Must(fsm.MarkHost{Host: "h1", State: fsm.HostLost, Fence: 1})
	later := watched{now: begun.Add(time.Hour), me: "h9", since: begun.Add(time.Hour - 6*time.Second), fence: 5 * time.Second,
		lost: map[fsm.HostID]time.Time{}, gone: map[fsm.HostID]time.Time{}}
	if got := later.judge(st.S); len(got) != 0 {
		t.Errorf("a new leader that has not waited itself: %+v", got)
	}
	later.now = later.now.Add(2 * time.Second)
	if got := later.judge(st.S); len(got) != 1 || !got[0].Over {
		t.Errorf("it has waited: %+v", got)
	}
}
