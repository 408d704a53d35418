package build

import (
	"context"
	"errors"
	"fmt"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// makeBase makes the lowest layer: from elsewhere, when Sources knows how, and else by the store.
func (j *job) makeBase(ctx context.Context) (err error) {
	line := func(text string) { j.emit(Output, 0, text) }
	if j.c.Sources == nil || !j.c.Sources.Handles(j.img.Base) {
		return j.c.Store.Base(ctx, j.img.Base, j.top, line)
	}
	fetch, cancel := context.WithTimeoutCause(ctx, j.c.Timeout, fmt.Errorf("timed out after %v", j.c.Timeout))
	defer cancel()
	f, err := j.c.Sources.Fetch(fetch, j.img.Base, j.img.BaseDigest, j.fetching)
	if err != nil {
		if fetch.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", context.Cause(fetch), err)
		}
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	line("unpacking")
	if f.Format == string(zfssync.FormatZFS) {
		s, ok := j.c.Store.(zfssync.Streams)
		if !ok {
			return fmt.Errorf("base %s: %w: use a bundle with a .tar.zst", j.img.Base, zfssync.ErrFormat)
		}
		return zfssync.ReceiveBase(ctx, s, j.top, j.img.Base, f.Path, zfssync.Limits{})
	}
	return j.c.Store.Base(ctx, f.Path, j.top, line)
}

// fetching shows what Sources does: words as output, and bytes.
func (j *job) fetching(text string, done, total int64) {
	j.progress(Event{Kind: Output, Image: j.img.Name, Steps: len(j.img.Steps), Text: text, Bytes: done, Total: total})
}
