package hostagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
)

// worker brings one jail to what State wants. Its fields are owned by run,
// except wakeup and reports.
type worker struct {
	a       *Agent
	log     *slog.Logger
	row     row
	alive   bool
	exit    *jail.Exit
	fenced  uint64 // Run that was stopped because no leader was heard
	gone    bool   // the driver knows nothing of the row's Run: the host went down, or all was taken down
	spec    uint64 // Jail.SpecIndex whose limits are in force
	sshKeys string // what the jail's authorized_keys hold; "": unknown
	wakeup  chan struct{}
	ended   chan ended // from the goroutine that waits for the first process

	reports   *reporter
	health    *health
	certs     *certs
	retry     backoff
	forgotten bool
}

// ended says how the first process of a Run ended.
type ended struct {
	seq  uint64
	exit *jail.Exit
}

func newWorker(a *Agent, r row, st *jail.Status) *worker {
	log := a.c.Log.With("jail", string(r.Name))
	w := &worker{a: a, log: log, row: r, wakeup: make(chan struct{}, 1), ended: make(chan ended, 1)}
	w.reports = newReporter(a, log)
	w.health = newHealth(a, w)
	w.certs = newCerts(a, w)
	w.retry = backoff{first: 200 * time.Millisecond, limit: 30 * time.Second}
	w.gone = st == nil && r.Seq != 0 && r.Stage == StageEnded
	if st != nil {
		w.alive = st.Phase == jail.Running
		w.exit = st.Exit
	}
	poke(w.wakeup)
	return w
}

// wake asks the worker to look again. It never blocks.
func (w *worker) wake(*fsm.State) { poke(w.wakeup) }

// run takes step after step until nothing of the jail is left, or ctx ends.
func (w *worker) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); w.reports.run(ctx) }()
	defer func() { cancel(); w.health.stop(); w.certs.stop(); <-done }()
	if w.alive {
		w.running(ctx)
	}
	for {
		var again <-chan time.Time
		step, err := w.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case step == StepForget && err == nil:
			w.forgotten = true
			return
		case err != nil:
			wait := w.retry.next()
			w.log.Warn("step failed, trying again", "step", string(step), "wait", wait, "err", err)
			w.a.metrics.failures.WithLabelValues(string(step)).Inc()
			again = time.After(wait)
		case step != StepNone:
			w.retry.reset()
			continue
		}
		select {
		case <-w.wakeup:
		case e := <-w.ended:
			if e.seq == w.row.Seq { // else: news of a Run that was cleaned up already
				w.alive, w.exit = false, e.exit
			}
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// pass looks once and does the one next step.
func (w *worker) pass(ctx context.Context) (Step, error) {
	want := WantOf(w.a.c.Cluster.State(), w.a.c.Host, w.row.Name, w.row.UUID)
	fenced := w.a.mustFence(want)
	want.Stop = want.Stop || fenced
	step := Next(want, w.have())
	if fenced && w.row.Seq == 0 {
		step = StepNone // it is not begun before a leader is heard
	}
	var err error
	switch step {
	case StepNone:
		if w.alive {
			w.certs.look(ctx, want)
			err = w.lookKeys(ctx, want)
		}
		return step, err
	case StepStart:
		err = w.start(ctx, want)
	case StepUpdate:
		err = w.update(ctx, want)
	case StepStop:
		err = w.stop(ctx, want)
	case StepClean:
		err = w.clean(ctx, want)
	case StepLost:
		w.reports.send(fsm.ReportRun{Jail: w.row.Name, Host: w.a.c.Host, Seq: want.Run.Seq, Phase: fsm.Lost,
			Reason: wentDown})
		err = w.over(ctx, want.Run.Seq)
	case StepDestroy:
		err = w.destroy(ctx)
	case StepForget:
		err = w.forget(ctx)
	}
	return step, err
}

func (w *worker) have() Have {
	return Have{Seq: w.row.Seq, Stage: w.row.Stage, Alive: w.alive, Root: w.row.Image, Spec: w.spec}
}

// save records the row; what names the step that is about to be done.
func (w *worker) save(ctx context.Context, what string, change func(*row)) error {
	if change != nil {
		change(&w.row)
	}
	w.row.Step = what
	return w.a.db.put(ctx, w.row)
}

// over waits until State says that Run seq is over, so that the next pass
// does not take the same step for the same Run again.
func (w *worker) over(ctx context.Context, seq uint64) error {
	_, err := w.a.c.Cluster.Wait(ctx, func(s *fsm.State) bool {
		r := WantOf(s, w.a.c.Host, w.row.Name, w.row.UUID).Run
		return r == nil || r.Seq != seq
	})
	if err != nil {
		return fmt.Errorf("wait until run %d of %s is over: %w", seq, w.row.Name, err)
	}
	return nil
}

// running is called once the first process runs, started or adopted: it
// waits for its end, looks after its health and its certificate.
func (w *worker) running(ctx context.Context) {
	seq := w.row.Seq
	id := jailID(w.row.UUID)
	go func() {
		st, err := w.a.c.Jails.Wait(ctx, id)
		if err != nil && !errors.Is(err, jail.ErrNotFound) {
			if ctx.Err() == nil {
				w.log.Warn("cannot wait for the jail", "err", err)
			}
			return
		}
		if err != nil {
			st = jail.Status{ID: id, Phase: jail.Stopped, Exit: &jail.Exit{Code: -1}}
		}
		select {
		case w.ended <- ended{seq, st.Exit}:
		case <-ctx.Done():
		}
	}()
	w.health.start(ctx, seq)
}

// backoff doubles from first to limit.
type backoff struct{ first, limit, last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.first), b.limit)
	return b.last
}

func (b *backoff) reset() { b.last = 0 }
