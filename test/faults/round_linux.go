package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// fault is one way to hurt a cluster.
type fault struct {
	name   string
	times  int           // in the whole run; the short one does each once
	limit  time.Duration // until a write is acknowledged again; judged in the whole run alone
	hold   time.Duration // how long it lasts after that
	strike func(context.Context, *lab) (heal func(context.Context) error, err error)
}

// row is what came of a fault.
type row struct {
	name           string
	times          int
	acked, unknown int
	lost, differ   int
	broken         int
	again, well    []time.Duration // until a write was acknowledged again; from the heal until all hosts were well
	limit          time.Duration
}

// warm is how long the load runs before a fault strikes, so that much is on its way.
const warm = 300 * time.Millisecond

// settings of a run.
type settings struct {
	clients int
	pace    time.Duration // between a client's calls
	short   bool          // each fault once, and time is not judged
}

// do strikes as often as it is told.
func (l *lab) do(ctx context.Context, f fault, s settings) (row, error) {
	r := row{name: f.name, limit: f.limit}
	l.strict = !s.short
	times := f.times
	if s.short {
		times = 1
	}
	for range times {
		// Whatever goes wrong, a fault is bounded in time.
		ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
		err := l.round(ctx, f, s, &r)
		cancel()
		if err != nil {
			return r, fmt.Errorf("%s, time %d: %w", f.name, r.times+1, err)
		}
		r.times++
	}
	if most := slices.Max(r.again); !s.short && f.limit > 0 && most > f.limit {
		return r, fmt.Errorf("%s: a write was acknowledged after %s only, want at most %s", f.name, most.Round(time.Millisecond), f.limit)
	}
	return r, nil
}

func (l *lab) round(ctx context.Context, f fault, s settings, r *row) (err error) {
	load, err := l.begin(ctx, s.clients, s.pace)
	if err != nil {
		return err
	}
	stopped := false
	defer func() {
		if !stopped {
			load.stop()
		}
	}()
	if _, err := load.ackAfter(ctx, load.begun); err != nil {
		return err
	}
	pause(ctx, warm)
	struck := time.Now()
	heal, err := f.strike(ctx, l)
	if err != nil {
		return err
	}
	again, err := load.ackAfter(ctx, struck)
	if err != nil {
		return errors.Join(err, heal(ctx))
	}
	pause(ctx, f.hold)
	healed := time.Now()
	if err := heal(ctx); err != nil {
		return err
	}
	if err := l.well(ctx); err != nil {
		return err
	}
	r.again, r.well = append(r.again, again), append(r.well, time.Since(healed))
	load.stop()
	stopped = true
	v, err := load.judge(ctx)
	if err != nil {
		return err
	}
	r.acked, r.unknown, r.lost = r.acked+v.acked, r.unknown+v.unknown, r.lost+len(v.lost)
	if v.differ != "" {
		r.differ++
	}
	if v.broken != "" {
		r.broken++
	}
	return errors.Join(v.err(), load.tidy(ctx))
}

// pause lets a fault last; it ends with ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
