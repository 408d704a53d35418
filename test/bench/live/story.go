package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// Times are those of one jail; zero is not yet.
type Times struct{ Placed, Running, Certified, Removed time.Time }

// Story is what happened after an index.
type Story struct {
	Applied time.Time // when the wish was proposed

	mu      sync.Mutex
	jails   map[string]*Times // guarded by mu
	changed chan struct{}     // guarded by mu; closed and replaced
	err     error             // guarded by mu
}

// Follow reads events after index since until ctx ends.
func (d *Daemon) Follow(ctx context.Context, since uint64) *Story {
	s := &Story{jails: map[string]*Times{}, changed: make(chan struct{})}
	go func() {
		err := d.Client.Events(ctx, api.EventFilter{Since: since, Follow: true, Data: true}, s.take)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = err
		close(s.changed)
		s.changed = make(chan struct{})
	}()
	return s
}

func (s *Story) take(e api.Event) error {
	_, name, _ := strings.Cut(e.Object, " ") // "jail web-1", "cert web-1"
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.jails[name]
	if t == nil {
		t = &Times{}
		s.jails[name] = t
	}
	switch e.Kind {
	case "wish_applied":
		s.Applied = e.Time
	case "jail_placed":
		t.Placed = e.Time
	case "run_reported":
		var data struct{ Run fsm.Run }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return fmt.Errorf("event %d.%d: %w", e.Index, e.N, err)
		}
		if data.Run.Phase == fsm.Running && t.Running.IsZero() {
			t.Running = e.Time
		}
		if data.Run.Phase == fsm.Failed {
			return fmt.Errorf("jail %s failed: %s", name, data.Run.Reason)
		}
	case "cert_issued":
		t.Certified = e.Time
	case "jail_removed":
		t.Removed = e.Time
	default:
		return nil
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// Wait returns the times of n jails of which ok holds.
func (s *Story) Wait(ctx context.Context, n int, ok func(Times) bool) ([]Times, error) {
	for {
		s.mu.Lock()
		changed, err := s.changed, s.err
		var out []Times
		for name, t := range s.jails {
			if name != "" && ok(*t) {
				out = append(out, *t)
			}
		}
		s.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case len(out) >= n:
			return out, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%d of %d jails are there", len(out), n), ctx.Err())
		}
	}
}
