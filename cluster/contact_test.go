package cluster

import (
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// A host that hears a leader and lags behind its log may have Runs that are
// not its own any more: that is no contact.
func TestContactCountsWhenTheLeadersLogIsApplied(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return time.Unix(1_900_000_000+int64(n), 0) }
	m := newMembers("h1", nil)
	if got := m.lastContact(9); !got.IsZero() {
		t.Errorf("contact at %s before anybody was heard", got)
	}
	m.met(at(1), "h2", Pong{Leading: true, Index: 10})
	m.met(at(2), "h3", Pong{Index: 1}) // no leader
	m.met(at(3), "h2", Pong{Leading: true, Index: 12})
	for _, c := range []struct {
		applied uint64
		want    time.Time
	}{{9, time.Time{}}, {10, at(1)}, {11, at(1)}, {12, at(3)}} {
		if got := m.lastContact(c.applied); !got.Equal(c.want) {
			t.Errorf("with %d applied: contact at %s, want %s", c.applied, got, c.want)
		}
	}
	for i := range 10 * keptAnswers {
		m.met(at(10+i), "h2", Pong{Leading: true, Index: uint64(100 + i)})
	}
	if len(m.answers) > keptAnswers {
		t.Errorf("%d answers are kept", len(m.answers))
	}
	if got := m.lastContact(1 << 20); !got.Equal(at(9 + 10*keptAnswers)) {
		t.Errorf("caught up: contact at %s", got)
	}
}

// A leader knows first where a member has moved to. Once it leads no more, what
// it heard then must not stand before what the log says now.
func TestAnAddressThatWasHeardLongAgoCountsNoMore(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_900_000_000, 0)
	m := newMembers("h1", map[fsm.HostID]string{"h2": "10.0.0.2:7370"})
	m.heard["h2"] = Contact{At: now, Ping: Ping{Peer: "10.0.0.9:7370"}}
	if heard, _ := m.addr("h2", now.Add(time.Second)); heard != "10.0.0.9:7370" {
		t.Errorf("just heard: %q", heard)
	}
	if heard, known := m.addr("h2", now.Add(time.Minute)); heard != "" || known != "10.0.0.2:7370" {
		t.Errorf("a minute later: heard %q, known %q", heard, known)
	}
}
