package hostagent

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// reporter sends what a worker sees. A report that has not been sent yet is
// replaced by a newer one: the cluster wants to know how things are, and
// Apply refuses a phase that falls.
type reporter struct {
	a      *Agent
	log    *slog.Logger
	wakeup chan struct{}

	mu   sync.Mutex
	next *fsm.ReportRun // guarded by mu
}

func newReporter(a *Agent, log *slog.Logger) *reporter {
	return &reporter{a: a, log: log, wakeup: make(chan struct{}, 1)}
}

// send hands over a report and returns at once.
func (r *reporter) send(report fsm.ReportRun) {
	r.mu.Lock()
	if r.next == nil || r.next.Seq != report.Seq || r.next.Phase <= report.Phase {
		r.next = &report
	}
	r.mu.Unlock()
	poke(r.wakeup)
}

func (r *reporter) take() *fsm.ReportRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.next
	r.next = nil
	return next
}

// run sends until ctx ends.
func (r *reporter) run(ctx context.Context) {
	for {
		for report := r.take(); report != nil; report = r.take() {
			err := r.a.propose(ctx, *report)
			if refusal := (*fsm.Refusal)(nil); errors.As(err, &refusal) {
				// The cluster has moved on: State says so too, and the worker reads it.
				r.log.Info("report refused", "run", report.Seq, "phase", int(report.Phase), "err", err)
			}
		}
		select {
		case <-r.wakeup:
		case <-ctx.Done():
			return
		}
	}
}
