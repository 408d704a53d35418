package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Replayed says what Replay did.
type Replayed struct {
	Entries  int
	Index    uint64 // of the last entry
	Chain    [32]byte
	Compared int // archived States that were equal
}

// Replay applies the archived segments of dir again, beginning at the oldest
// archived State that they follow, or at nothing. With verify each later
// archived State must have the same chain; the first that differs is an error.
func Replay(ctx context.Context, dir string, verify bool) (Replayed, error) {
	a := &archive{dir: dir}
	segs, err := a.segments()
	if err != nil {
		return Replayed{}, err
	}
	if len(segs) == 0 {
		return Replayed{}, fmt.Errorf("%s holds no segment seg-*.zst: give the archive/ of a data directory", dir)
	}
	states, err := a.states()
	if err != nil {
		return Replayed{}, err
	}
	s := fsm.New()
	if first := segs[0].first; first > 1 {
		if s, err = a.startFor(states, first); err != nil {
			return Replayed{}, err
		}
	}
	want := map[uint64]bool{}
	for _, i := range states {
		want[i] = verify && i > s.Index
	}
	var out Replayed
	for _, seg := range segs {
		err := readSegment(ctx, seg.path, s.Index+1, seg.last, func(it fsm.Item) error {
			s, _, _ = fsm.Apply(s, it.Index, it.Entry, it.Raw)
			out.Entries++
			if !want[it.Index] {
				return nil
			}
			out.Compared++
			return a.compare(s)
		})
		if err != nil {
			return out, fmt.Errorf("replay %s: %w", filepath.Base(seg.path), err)
		}
	}
	out.Index, out.Chain = s.Index, s.Chain
	return out, nil
}

// startFor returns the archived State that the entry first follows.
func (a *archive) startFor(states []uint64, first uint64) (*fsm.State, error) {
	for _, i := range states {
		if i+1 >= first {
			return a.readState(i)
		}
	}
	return nil, fmt.Errorf("the archive begins at entry %d and has no state before it", first)
}

func (a *archive) compare(s *fsm.State) error {
	archived, err := a.readState(s.Index)
	if err != nil {
		return err
	}
	if archived.Chain != s.Chain {
		return fmt.Errorf("at index %d the archived state has chain %x, replay gives %x: the archive was altered, or this program applies differently",
			s.Index, archived.Chain, s.Chain)
	}
	return nil
}

func (a *archive) readState(index uint64) (*fsm.State, error) {
	f, err := os.Open(a.statePath(index))
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	s, err := fsm.Read(bufio.NewReaderSize(f, 1<<16))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("archive: read %s: %w", f.Name(), err)
	}
	return s, nil
}
