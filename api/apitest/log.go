package apitest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Log is an api.Log in memory. Use NewLog.
type Log struct {
	mu      sync.Mutex // guards all below
	state   *fsm.State
	events  []fsm.Happened
	past    []*fsm.State  // after each entry
	changed chan struct{} // closed and replaced with every entry
	now     time.Time
	oldest  uint64
	refuse  error
	after   func() // runs after every command of a user
	busy    bool   // after is running
}

// Start is the time of the log's first entry.
var Start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// NewLog is a log with no entry.
func NewLog() *Log {
	return &Log{state: fsm.New(), changed: make(chan struct{}), now: Start.Add(-time.Second)}
}

// State implements api.Log.
func (l *Log) State() *fsm.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// TooOld says that events before Index are gone.
type TooOld struct{ Index uint64 }

// Error implements error.
func (e *TooOld) Error() string { return fmt.Sprintf("events before index %d are gone", e.Index) }

// Oldest is what the API looks for.
func (e *TooOld) Oldest() uint64 { return e.Index }

// Forget makes events up to index unavailable, as compaction does.
func (l *Log) Forget(index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.oldest = index
}

// Refuse makes every further Propose fail with err; nil ends that.
func (l *Log) Refuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = err
}

// Sleep moves the log's clock.
func (l *Log) Sleep(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

// Propose implements api.Log.
func (l *Log) Propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error) {
	if err := ctx.Err(); err != nil {
		return fsm.Applied{}, err
	}
	done, err := l.fold(by, cmd)
	l.mu.Lock()
	run := l.after != nil && !l.busy
	l.busy = l.busy || run
	l.mu.Unlock()
	if run {
		l.after()
		l.mu.Lock()
		l.busy = false
		l.mu.Unlock()
	}
	return done, err
}

func (l *Log) fold(by string, cmd fsm.Command) (fsm.Applied, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		return fsm.Applied{}, l.refuse
	}
	l.now = l.now.Add(time.Second)
	e := fsm.Entry{V: fsm.Version, At: fsm.TimeOf(l.now), By: by, Cmd: cmd}
	raw, err := fsm.Encode(e)
	if err != nil {
		return fsm.Applied{}, err
	}
	// What the log holds is what was encoded: so is what is applied.
	if e, err = fsm.Decode(raw); err != nil {
		return fsm.Applied{}, err
	}
	next, events, err := fsm.Apply(l.state, l.state.Index+1, e, raw)
	l.state, l.events, l.past = next, append(l.events, events...), append(l.past, next)
	close(l.changed)
	l.changed = make(chan struct{})
	return fsm.Applied{Index: next.Index, Events: events}, err
}

// Wait implements api.Log.
func (l *Log) Wait(ctx context.Context, ok func(*fsm.State) bool) (*fsm.State, error) {
	for {
		l.mu.Lock()
		s, changed := l.state, l.changed
		l.mu.Unlock()
		if ok(s) {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// Events implements api.Log.
func (l *Log) Events(ctx context.Context, since uint64, follow bool, yield func(fsm.Happened) error) error {
	for {
		l.mu.Lock()
		if since < l.oldest {
			l.mu.Unlock()
			return &TooOld{l.oldest}
		}
		events, changed := l.events, l.changed
		l.mu.Unlock()
		for _, h := range events {
			if h.Index <= since {
				continue
			}
			if err := yield(h); err != nil {
				return err
			}
		}
		if n := len(events); n > 0 {
			since = max(since, events[n-1].Index)
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
