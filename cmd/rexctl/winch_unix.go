//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/rexcarcer/rexcarcer/api"
)

// watchSize tells the terminal's size whenever it changes, until stop.
func watchSize(ctx context.Context, fd int) (sizes <-chan api.Size, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	out := make(chan api.Size)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			select {
			case <-ctx.Done():
				return
			case out <- sizeOf(fd):
			}
		}
	})
	return out, func() {
		signal.Stop(changed)
		cancel()
		wg.Wait()
	}
}
