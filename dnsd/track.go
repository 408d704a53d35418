package dnsd

import (
	"context"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// States is where the newest State comes from: cluster.Node.
type States interface {
	// State is the newest State; it never blocks.
	State() *fsm.State
	// Watch returns a channel that is closed when a State newer than the one
	// State returned before the call may be there.
	Watch() <-chan struct{}
}

// Track keeps h's zone in step with states until ctx ends.
func Track(ctx context.Context, states States, h *Handler) error {
	var builder Builder
	for {
		changed := states.Watch()
		began := time.Now()
		h.SetZone(builder.Update(states.State()))
		if !pause(ctx, time.Since(began)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// pause lets updates that took cost take a fourth of the time at most: with
// 20,000 records a zone costs 40 ms to pack, and entries may come by the
// hundred a second. A change after a quiet time waits for nothing. It is false
// when ctx ends.
func pause(ctx context.Context, cost time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(min(3*cost, time.Second)):
		return true
	}
}
