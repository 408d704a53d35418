package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"github.com/oklog/ulid/v2"

	"github.com/rexcarcer/rexcarcer/fsm"
)

func newULID() string { return ulid.Make().String() }

// outcome is what machine.ApplyBatch returns for one entry.
type outcome struct {
	events []fsm.Happened
	err    error
}

// Propose commits one Command and returns what it changed. A *fsm.Refusal
// comes back as the error together with the index at which it was refused.
// When ctx ends first the Command may still commit later.
func (n *Node) Propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error) {
	return n.ProposeID(ctx, n.cfg.NewID(), by, cmd)
}

// ProposeID is Propose with the caller's id: repeating it is harmless.
//
// Where another host leads, the Command is carried there, and ProposeID returns
// when it was applied here too. While nobody leads it waits for LeaderWait.
func (n *Node) ProposeID(ctx context.Context, id, by string, cmd fsm.Command) (fsm.Applied, error) {
	if err := ctx.Err(); err != nil {
		return fsm.Applied{}, fmt.Errorf("propose %s: %w", cmd.Kind(), err)
	}
	start := n.cfg.Clock()
	applied, err := n.proposeSomewhere(ctx, fsm.Entry{V: fsm.Version, ID: id, By: by, Cmd: cmd})
	switch refusal := (*fsm.Refusal)(nil); {
	case err == nil:
		n.metrics.commit.Observe(n.cfg.Clock().Sub(start).Seconds())
		n.metrics.proposals.WithLabelValues("ok").Inc()
		return applied, nil
	case errors.As(err, &refusal):
		n.metrics.proposals.WithLabelValues("refused").Inc()
		return applied, err
	}
	n.metrics.proposals.WithLabelValues("error").Inc()
	return applied, fmt.Errorf("propose %s: %w", cmd.Kind(), err)
}

// proposeSomewhere tries here or at the leader.
func (n *Node) proposeSomewhere(ctx context.Context, e fsm.Entry) (applied fsm.Applied, err error) {
	err = n.withLeader(ctx, func() error {
		applied, err = n.proposeOnce(ctx, e)
		return err
	})
	return applied, err
}

// withLeader does it again while the error is ErrNotLeader, until LeaderWait
// has passed since the first such error.
func (n *Node) withLeader(ctx context.Context, do func() error) error {
	var until time.Time
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := do()
		if err == nil || !errors.Is(err, ErrNotLeader) || ctx.Err() != nil {
			return err
		}
		now := time.Now()
		if until.IsZero() {
			until = now.Add(n.cfg.LeaderWait)
		}
		if now.After(until) {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) proposeOnce(ctx context.Context, e fsm.Entry) (fsm.Applied, error) {
	if n.cfg.Peers == nil || n.raft.State() == raft.Leader {
		return n.ProposeHere(ctx, e)
	}
	return n.proposeThere(ctx, e)
}

// ProposeHere commits e if this host leads: else the error is ErrNotLeader.
// It stamps e.At.
func (n *Node) ProposeHere(ctx context.Context, e fsm.Entry) (fsm.Applied, error) {
	e.At = fsm.TimeOf(n.cfg.Clock())
	if old := n.State().TooOld(e.Cmd.Kind()); old != nil {
		return fsm.Applied{}, &fsm.Refusal{Code: fsm.CodeConflict, Object: "host " + old.Name, Text: fmt.Sprintf(
			"its program (%s) does not know %s yet and would have to stop at it: upgrade that host first, then ask again", old.Version, e.Cmd.Kind())}
	}
	raw, err := fsm.Encode(e)
	if err != nil { // too large, or not to be encoded
		return fsm.Applied{}, &fsm.Refusal{Code: fsm.CodeInvalid, Object: e.Cmd.Kind(), Text: err.Error()}
	}
	future := n.raft.Apply(raw, 0)
	if err := await(ctx, future); err != nil {
		if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			err = errors.Join(ErrNotLeader, err)
		}
		return fsm.Applied{}, err
	}
	out, ok := future.Response().(outcome)
	if !ok {
		return fsm.Applied{}, fmt.Errorf("no outcome at index %d", future.Index())
	}
	return fsm.Applied{Index: future.Index(), Events: out.events}, out.err
}

// await is future.Error with a context. A context that cannot end costs no goroutine.
func await(ctx context.Context, future raft.Future) error {
	if ctx.Done() == nil {
		return future.Error()
	}
	done := make(chan error, 1)
	go func() { done <- future.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
