package cluster

import (
	"context"
	"errors"
	"fmt"

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
func (n *Node) ProposeID(ctx context.Context, id, by string, cmd fsm.Command) (fsm.Applied, error) {
	if err := ctx.Err(); err != nil {
		return fsm.Applied{}, fmt.Errorf("propose %s: %w", cmd.Kind(), err)
	}
	start := n.cfg.Clock()
	raw, err := fsm.Encode(fsm.Entry{V: fsm.Version, ID: id, At: fsm.TimeOf(start), By: by, Cmd: cmd})
	if err != nil { // too large, or not to be encoded
		return fsm.Applied{}, &fsm.Refusal{Code: fsm.CodeInvalid, Object: cmd.Kind(), Text: err.Error()}
	}
	future := n.raft.Apply(raw, 0)
	if err := await(ctx, future); err != nil {
		n.metrics.proposals.WithLabelValues("error").Inc()
		if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) {
			err = errors.Join(ErrNotLeader, err)
		}
		return fsm.Applied{}, fmt.Errorf("propose %s: %w", cmd.Kind(), err)
	}
	n.metrics.commit.Observe(n.cfg.Clock().Sub(start).Seconds())
	out, ok := future.Response().(outcome)
	if !ok {
		return fsm.Applied{}, fmt.Errorf("propose %s: no outcome at index %d", cmd.Kind(), future.Index())
	}
	applied := fsm.Applied{Index: future.Index(), Events: out.events}
	if out.err != nil {
		n.metrics.proposals.WithLabelValues("refused").Inc()
		return applied, out.err
	}
	n.metrics.proposals.WithLabelValues("ok").Inc()
	return applied, nil
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
