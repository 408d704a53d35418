package cluster

import (
	"errors"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// TestAKindThatAHostDoesNotKnowIsNotProposed: that host would have to stop at
// the entry, and the others could not take it back.
func TestAKindThatAHostDoesNotKnowIsNotProposed(t *testing.T) {
	t.Parallel()
	n := open(t, t.TempDir())
	fill(t, n, 1) // a host of the first version: it says nothing of a level
	cmd := fsm.RevokeCert{Serial: "ab"}
	before := n.State().Index
	_, err := n.Propose(t.Context(), "user/root", cmd)
	refusal := (*fsm.Refusal)(nil)
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "host0") || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("got %v, want a refusal that names the old host", err)
	}
	if now := n.State().Index; now != before {
		t.Errorf("the entry is in the log all the same: %d, then %d", before, now)
	}
	propose(t, n, fsm.RotateGossip{Key: make([]byte, 32)}) // what all know goes on
	now := host(0).(fsm.RegisterHost)
	now.Host.Level = fsm.Level
	propose(t, n, now)
	if _, err := n.Propose(t.Context(), "user/root", cmd); err != nil {
		t.Errorf("all hosts know it: %v", err)
	}
}
