package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Duty is work that only the leader does, until ctx ends. It is started again
// at the next term that this host leads.
type Duty func(ctx context.Context) error

// Run watches the disk and runs the duties while this host leads. It returns
// when ctx has ended and all duties have come back, or with a duty's error.
func (n *Node) Run(ctx context.Context, duties ...Duty) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the Wait above
	wg.Go(func() { n.watchDisk(ctx) })
	wg.Go(func() { n.ping(ctx) })
	wg.Go(func() { n.followLeader(ctx) })

	failed := make(chan error, len(duties))
	for ctx.Err() == nil {
		if !n.awaitLeadership(ctx) {
			return nil
		}
		if err := n.learnVoters(); err != nil {
			return err
		}
		n.members.begin(n.cfg.Clock())
		n.leading.Store(true)
		term, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		for _, d := range duties {
			running.Go(func() {
				if err := d(term); err != nil && term.Err() == nil {
					failed <- err
				}
			})
		}
		running.Go(func() { n.lost(term); stop() })
		var err error
		select {
		case err = <-failed:
		case <-term.Done():
		}
		n.leading.Store(false)
		stop()
		running.Wait()
		if err != nil {
			return fmt.Errorf("leader duty: %w", err)
		}
	}
	return nil
}

// learnVoters lets the leadership that has begun run ahead of its disk, if others vote too.
func (n *Node) learnVoters() error {
	if n.ahead == nil {
		return nil
	}
	return n.ahead.learn(func() (raft.Configuration, error) {
		f := n.raft.GetConfiguration()
		if err := f.Error(); err != nil {
			return raft.Configuration{}, fmt.Errorf("read the configuration of the raft group: %w", err)
		}
		return f.Configuration(), nil
	})
}

// awaitLeadership returns true once this host leads and has applied all that
// earlier leaders committed; false when ctx has ended.
func (n *Node) awaitLeadership(ctx context.Context) bool {
	for {
		if self, _ := n.Leader(); self {
			if err := n.raft.Barrier(0).Error(); err == nil {
				return true
			}
		}
		select {
		case <-n.lead:
		case <-time.After(n.cfg.Heartbeat): // a notice may have been merged with an older one
		case <-ctx.Done():
			return false
		}
	}
}

// lost returns when raft says that this host no longer leads. Notices of
// having become leader are stale here: awaitLeadership has seen it already.
func (n *Node) lost(ctx context.Context) {
	for {
		select {
		case leads := <-n.lead:
			if !leads {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// watchDisk proves once a second that a small file can be made durable in the
// data directory, and ends the process when that takes too long: raft's own
// loop would wait in the same write and never give up leadership.
func (n *Node) watchDisk(ctx context.Context) {
	if n.cfg.HangLimit < 0 {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	done := make(chan error, 1)
	for {
		go func() { done <- n.guard.touch(n.raft.AppliedIndex()) }() // it may never return: then neither do we
		select {
		case err := <-done:
			if err != nil {
				n.cfg.Log.Warn("data directory refuses a write", "err", err)
				n.metrics.diskErrors.Inc()
			}
		case <-time.After(n.cfg.HangLimit):
			n.cfg.Fatal(fmt.Errorf("the data directory %s has not finished a small write for %s: ending, so that another host can lead", n.cfg.Dir, n.cfg.HangLimit))
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
