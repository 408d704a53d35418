package zfssync

import (
	"context"
	"fmt"
	"io"
	"io/fs"
)

// Snapshots implements Streams: there are none.
func (p *Plain) Snapshots(context.Context, Object) ([]Snapshot, error) { return nil, nil }

// TakeSnapshot implements Streams.
func (p *Plain) TakeSnapshot(_ context.Context, o Object, _ string) (Snapshot, error) {
	return Snapshot{}, p.none("take snapshot of", o)
}

// DropSnapshot implements Streams: there is none.
func (p *Plain) DropSnapshot(context.Context, Object, string) error { return nil }

// Rollback implements Streams.
func (p *Plain) Rollback(_ context.Context, o Object, _ string, _ RollbackOptions) error {
	return p.none("roll back", o)
}

// HoldSnapshot implements Streams.
func (p *Plain) HoldSnapshot(_ context.Context, o Object, name string) (func(), error) {
	return nil, fmt.Errorf("hold snapshot %s of %s: %w", name, o, fs.ErrNotExist)
}

// Send implements Streams.
func (p *Plain) Send(_ context.Context, o Object, _ SendOptions, _ io.Writer) error {
	return p.none("send", o)
}

// Receive implements Streams.
func (p *Plain) Receive(_ context.Context, o Object, _ ReceiveOptions, _ io.Reader) error {
	return p.none("receive", o)
}

// ResumeToken implements Streams.
func (p *Plain) ResumeToken(context.Context, Object, string) (string, error) { return "", nil }

// AbortReceive implements Streams.
func (p *Plain) AbortReceive(context.Context, Object) error { return nil }
