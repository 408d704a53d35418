package main

import (
	"context"
	"sync"
)

// eachNetwork runs serve for every network as long as it is in the State, and
// returns when ctx has ended and all of them.
func (d *daemon) eachNetwork(ctx context.Context, serve func(ctx context.Context, network string)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	open := map[string]context.CancelFunc{}
	for {
		changed := d.node.Watch()
		wanted := map[string]bool{}
		for name := range d.node.State().Networks.All {
			wanted[name] = true
			if open[name] != nil {
				continue
			}
			one, cancel := context.WithCancel(ctx)
			open[name] = cancel
			wg.Go(func() { serve(one, name) })
		}
		for name, cancel := range open {
			if !wanted[name] {
				cancel()
				delete(open, name)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
