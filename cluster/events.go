package cluster

import (
	"context"
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Events yields what happened after index since, in order, without loss; with
// follow it goes on until ctx ends or yield returns an error. What memory no
// longer has is computed again from the archive: Apply is deterministic.
// ErrTooOld says that the archive does not reach back so far.
func (n *Node) Events(ctx context.Context, since uint64, follow bool, yield func(fsm.Happened) error) error {
	for {
		changed := n.Watch()
		events, ok := n.machine.eventsSince(since)
		if !ok {
			upTo, err := n.replayEvents(ctx, since, yield)
			if err != nil {
				return err
			}
			since = upTo
			continue
		}
		for _, e := range events {
			if err := yield(e); err != nil {
				return err
			}
			since = e.Index
		}
		if !follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *machine) eventsSince(since uint64) ([]fsm.Happened, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recent.since(since)
}

func (n *Node) replayEvents(ctx context.Context, since uint64, yield func(fsm.Happened) error) (uint64, error) {
	target := n.State().Index
	base, err := n.archive.stateAtOrBefore(since)
	if err != nil {
		return 0, err
	}
	s := base
	err = n.archive.entries(ctx, base.Index+1, target, func(it fsm.Item) error {
		next, events, _ := fsm.Apply(s, it.Index, it.Entry, it.Raw) // a refusal changed nothing
		s = next
		for _, e := range events {
			if e.Index <= since {
				continue
			}
			if err := yield(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("events since %d: %w", since, err)
	}
	return target, nil
}
