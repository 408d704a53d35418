package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// tooOld is ErrTooOld with what there still is.
type tooOld struct{ index, oldest uint64 }

func (e *tooOld) Error() string {
	return fmt.Sprintf("index %d is %v: the oldest here is %d", e.index, ErrTooOld, e.oldest)
}

// Oldest is the first index that archive or log still have.
func (e *tooOld) Oldest() uint64 { return e.oldest }

// Is makes errors.Is(err, ErrTooOld) true.
func (e *tooOld) Is(target error) bool { return target == ErrTooOld }

// StateAt rebuilds the State as it was at index.
func (n *Node) StateAt(ctx context.Context, index uint64) (*fsm.State, error) {
	if now := n.State(); index >= now.Index {
		return now, nil
	}
	s, err := n.archive.stateAtOrBefore(index)
	if err != nil {
		return nil, err
	}
	err = n.archive.entries(ctx, s.Index+1, index, func(it fsm.Item) error {
		s, _, _ = fsm.Apply(s, it.Index, it.Entry, it.Raw)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("state at %d: %w", index, err)
	}
	return s, nil
}

// errFound ends a walk over entries.
var errFound = errors.New("found")

// IndexAt returns the index of the last entry that was made at t or before. The
// log's own clock counts, State.Now: it never goes back.
func (n *Node) IndexAt(ctx context.Context, t fsm.Time) (uint64, error) {
	now := n.State()
	if now.Now <= t {
		return now.Index, nil
	}
	s, err := n.archive.stateAsOf(t)
	if err != nil {
		return 0, err
	}
	found, clock := s.Index, s.Now
	err = n.archive.entries(ctx, s.Index+1, now.Index, func(it fsm.Item) error {
		if clock = max(clock, it.Entry.At); clock > t {
			return errFound
		}
		found = it.Index
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return 0, fmt.Errorf("look for %s: %w", t.Time(), err)
	}
	return found, nil
}

// stateAsOf returns the newest archived State that is not newer than t; the
// empty State counts as long as the entries reach back to the first.
func (a *archive) stateAsOf(t fsm.Time) (*fsm.State, error) {
	states, err := a.states()
	if err != nil {
		return nil, err
	}
	var best *fsm.State
	for lo, hi := 0, len(states); lo < hi; { // Now grows with the index
		mid := (lo + hi) / 2
		s, err := a.readState(states[mid])
		if err != nil {
			return nil, err
		}
		if s.Now <= t {
			best, lo = s, mid+1
		} else {
			hi = mid
		}
	}
	if best != nil {
		return best, nil
	}
	return a.stateAtOrBefore(0)
}

// Audit is what Verify found to be so.
type Audit struct {
	From, To uint64 // the entries that were applied again
	Entries  int
	States   int      // archived States that were equal
	Chain    [32]byte // at To
}

// Verify applies all entries again that this host still has, up to index to (0:
// all), and compares: each archived State on the way, and the chain of the State
// that this host works with. The first difference is an error that names it.
func (n *Node) Verify(ctx context.Context, to uint64) (Audit, error) {
	now := n.State()
	if to == 0 || to > now.Index {
		to = now.Index
	}
	s, want, err := n.archive.verifyFrom()
	if err != nil {
		return Audit{}, err
	}
	out := Audit{From: s.Index + 1, To: to}
	err = n.archive.entries(ctx, s.Index+1, to, func(it fsm.Item) error {
		s, _, _ = fsm.Apply(s, it.Index, it.Entry, it.Raw)
		out.Entries++
		if !want[it.Index] {
			return nil
		}
		out.States++
		return n.archive.compare(s)
	})
	if err != nil {
		return out, fmt.Errorf("verify entries %d to %d: %w", out.From, to, err)
	}
	out.Chain = s.Chain
	if to == now.Index && s.Chain != now.Chain {
		return out, fmt.Errorf("at index %d this host works with chain %x, its log gives %x: the log was altered, or this program applies differently", to, now.Chain, s.Chain)
	}
	return out, nil
}

// verifyFrom is the oldest State from which all entries are here, and the later
// ones to compare with.
func (a *archive) verifyFrom() (*fsm.State, map[uint64]bool, error) {
	states, err := a.states()
	if err != nil {
		return nil, nil, err
	}
	oldest, err := a.oldest()
	if err != nil {
		return nil, nil, err
	}
	s := fsm.New()
	if oldest > 1 {
		if s, err = a.startFor(states, oldest); err != nil {
			return nil, nil, err
		}
	}
	want := map[uint64]bool{}
	for _, i := range states {
		want[i] = i > s.Index
	}
	return s, want, nil
}
