package zfssync

import (
	"context"
	"fmt"
	"io"
)

// Snapshots implements Streams: there are none.
func (s *Sim) Snapshots(context.Context, Object) ([]Snapshot, error) { return nil, nil }

// TakeSnapshot implements Streams.
func (s *Sim) TakeSnapshot(_ context.Context, o Object, _ string) (Snapshot, error) {
	return Snapshot{}, s.none("take snapshot of", o)
}

// DropSnapshot implements Streams: there is none.
func (s *Sim) DropSnapshot(context.Context, Object, string) error { return nil }

// Rollback implements Streams.
func (s *Sim) Rollback(_ context.Context, o Object, _ string, _ RollbackOptions) error {
	return s.none("roll back", o)
}

// HoldSnapshot implements Streams.
func (s *Sim) HoldSnapshot(_ context.Context, o Object, _ string) (func(), error) {
	return nil, s.none("hold snapshot of", o)
}

// Send implements Streams.
func (s *Sim) Send(_ context.Context, o Object, _ SendOptions, _ io.Writer) error {
	return s.none("send", o)
}

// Receive implements Streams.
func (s *Sim) Receive(_ context.Context, o Object, _ ReceiveOptions, _ io.Reader) error {
	return s.none("receive", o)
}

// ResumeToken implements Streams.
func (s *Sim) ResumeToken(context.Context, Object, string) (string, error) { return "", nil }

// AbortReceive implements Streams.
func (s *Sim) AbortReceive(context.Context, Object) error { return nil }

// none says why a snapshot is not there: nothing is stored, so nothing can be kept.
func (s *Sim) none(what string, o Object) error {
	return fmt.Errorf("%s %s: the store is simulated and holds nothing: %w", what, o, ErrNotFound)
}
