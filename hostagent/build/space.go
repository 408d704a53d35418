package build

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// spaceTick is how often the free space is looked at. A disk that takes 1 GiB/s loses 100 MiB between two looks.
const spaceTick = 100 * time.Millisecond

// checkSpace says that there is too little to begin with, or go on.
func (b *Builder) checkSpace() error {
	if b.c.Free == nil || b.c.MinFree == 0 {
		return nil
	}
	free, err := b.c.Free()
	if err != nil {
		return fmt.Errorf("look at free space: %w", err)
	}
	if free >= b.c.MinFree {
		return nil
	}
	return fmt.Errorf("%s is free where images are kept and %s has to stay (rexcarcer -build-min-free): make space, such as by rexctl image gc: %w",
		spec.FormatSize(free), spec.FormatSize(b.c.MinFree), zfssync.ErrNoSpace)
}

// watchSpace ends ctx, with that as its cause, before a build has filled the disk: the log and all jails need it too.
// stop must be called.
func (b *Builder) watchSpace(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(spaceTick)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := b.checkSpace(); err != nil {
					cancel(err)
					return
				}
			case <-watched.Done():
				return
			}
		}
	}()
	return watched, func() { cancel(context.Canceled); <-done }
}

// Guarded runs do, which writes where images are kept, and ends it before the disk is full.
func (b *Builder) Guarded(ctx context.Context, do func(ctx context.Context) error) error {
	if err := b.checkSpace(); err != nil {
		return err
	}
	watched, stop := b.watchSpace(ctx)
	defer stop()
	err := do(watched)
	if full := outOfSpace(watched); err != nil && full != nil {
		return full
	}
	return err
}

// outOfSpace is the cause if watchSpace has ended ctx.
func outOfSpace(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, zfssync.ErrNoSpace) {
		return cause
	}
	return nil
}
