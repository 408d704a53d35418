package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/scheduler"
)

// log is what the duties need of package cluster.
type log interface {
	State() *fsm.State
	Watch() <-chan struct{}
	Propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error)
}

// schedule proposes what the scheduler decides, at each change of State and
// when something becomes due.
func schedule(l log, clock func() time.Time, logger *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			changed := l.Watch()
			now := fsm.TimeOf(clock())
			d := scheduler.Schedule(l.State(), now)
			if len(d.Commands) > 0 {
				proposeAll(ctx, l, "scheduler", d.Commands, logger)
			}
			var due <-chan time.Time
			if d.Next != 0 {
				due = time.After(max(d.Next.Sub(now), time.Millisecond))
			}
			select {
			case <-changed:
			case <-due:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// proposeAll sends commands side by side, so that raft commits them together.
// A refusal means that State moved meanwhile: the next round sees it.
func proposeAll(ctx context.Context, l log, by string, cmds []fsm.Command, logger *slog.Logger) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for _, cmd := range cmds {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			_, err := l.Propose(ctx, by, cmd)
			if refusal := (*fsm.Refusal)(nil); errors.As(err, &refusal) {
				logger.Debug("refused", "kind", cmd.Kind(), "err", err)
			} else if err != nil && ctx.Err() == nil {
				logger.Warn("cannot propose", "kind", cmd.Kind(), "err", err)
			}
		})
	}
	wg.Wait()
}
