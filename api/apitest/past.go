package apitest

import (
	"context"
	"encoding/hex"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// StateAt implements api.Past.
func (l *Log) StateAt(_ context.Context, index uint64) (*fsm.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index < l.oldest {
		return nil, &TooOld{l.oldest}
	}
	if index == 0 {
		return fsm.New(), nil
	}
	return l.past[min(index, uint64(len(l.past)))-1], nil
}

// IndexAt implements api.Past.
func (l *Log) IndexAt(_ context.Context, t fsm.Time) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := uint64(0)
	for _, s := range l.past {
		if s.Now <= t {
			found = s.Index
		}
	}
	return found, nil
}

// Verify implements api.Past.
func (l *Log) Verify(ctx context.Context, index uint64) (api.Audit, error) {
	if now := l.State().Index; index == 0 {
		index = now
	}
	s, err := l.StateAt(ctx, index)
	if err != nil {
		return api.Audit{}, err
	}
	return api.Audit{From: 1, To: s.Index, Entries: int(s.Index), Chain: hex.EncodeToString(s.Chain[:])}, nil
}
