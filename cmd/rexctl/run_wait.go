package main

import (
	"context"
	"errors"
	"fmt"

	"slices"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// over says whether the jail's command has ended, or will never begin.
func over(j *api.JailRow) bool {
	return j == nil || slices.Contains([]string{"stopped", "failed", "lost"}, j.Phase) && j.Host != ""
}

// until looks at the jail until ok holds; nil is a jail that is not there.
func (r *runner) until(ctx context.Context, ok func(*api.JailRow) bool) (*api.JailRow, error) {
	var index uint64
	for {
		rows, at, err := r.client.JailsAfter(ctx, api.JailFilter{Wish: r.wish}, index, 30*time.Second)
		if err != nil {
			return nil, err
		}
		var row *api.JailRow
		for i := range rows {
			if rows[i].Name == r.name {
				row = &rows[i]
			}
		}
		if ok(row) {
			return row, nil
		}
		index = at
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// started waits until the command runs or has ended.
func (r *runner) started(ready func(*api.JailRow) bool) (*api.JailRow, error) {
	ctx, cancel := context.WithTimeout(r.c.Context, r.c.Duration("timeout"))
	defer cancel()
	row, err := r.until(ctx, func(j *api.JailRow) bool { return over(j) || ready(j) })
	if errors.Is(err, context.DeadlineExceeded) && r.c.Context.Err() == nil {
		err = &exit{exitPartial, fmt.Errorf("jail %s has not started after %s\n  try: rexctl why %s", r.name, r.c.Duration("timeout"), r.name)}
	}
	return row, err
}

// detached prints the name, as scripts want it; the rest is for people.
func (r *runner) detached() error {
	row, err := r.started(func(j *api.JailRow) bool { return j.Phase == "running" })
	if err != nil {
		return err
	}
	if row == nil || row.Phase == "failed" || row.Phase == "lost" {
		return r.verdict(r.c.Context)
	}
	if structured(r.c) {
		return document(r.c, row)
	}
	if _, err := fmt.Fprintln(r.e.stdout, row.Name); err != nil {
		return err
	}
	if !r.c.Bool("quiet") {
		r.e.note("jail %s: %s on %s%s", row.Name, cell(row.Phase, row.Simulated), row.Host, at(row.Addresses))
	}
	return nil
}

func at(addrs []string) string {
	if len(addrs) == 0 {
		return ""
	}
	return " at " + addrs[0]
}

// entered runs the command by exec in a jail that only waits.
func (r *runner) entered() error {
	row, err := r.started(func(j *api.JailRow) bool { return j.Phase == "running" })
	if err != nil {
		return r.stop(err)
	}
	if over(row) {
		return r.verdict(r.c.Context)
	}
	req := api.ExecRequest{Argv: r.c.Args().Tail(), User: r.c.String("user"), Dir: r.c.String("workdir"), TTY: r.c.Bool("tty")}
	if len(req.Argv) == 0 {
		req.Argv = []string{"/bin/sh"}
	}
	return r.stop(connected(r.c, req, true, func(ctx context.Context, req api.ExecRequest, s api.ExecStreams) (int, error) {
		return r.client.Exec(ctx, r.name, req, s)
	}))
}

// foreground prints what the command prints and ends as it does.
func (r *runner) foreground() error {
	row, err := r.started(func(j *api.JailRow) bool { return j.Host != "" })
	if err != nil {
		return r.stop(err)
	}
	if row == nil {
		return r.verdict(r.c.Context)
	}
	err = r.client.Logs(r.c.Context, r.name, api.LogOptions{Follow: true, UntilEnd: true, Tail: -1}, r.e.stdout)
	if err != nil || r.c.Context.Err() != nil {
		return r.stop(errors.Join(err, r.c.Context.Err()))
	}
	if _, err := r.until(r.c.Context, over); err != nil {
		return r.stop(err)
	}
	return r.verdict(r.c.Context)
}

// stop ends the jail of a command that nobody waits for any more, or that was
// entered, and says err.
func (r *runner) stop(err error) error {
	if r.c.Context.Err() != nil {
		r.e.note("stopping jail %s", r.name)
		err = &exit{code: 130} // as a shell says of ctrl-C
	}
	if r.c.Bool("rm") {
		return err // remove stops it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.c.Context), time.Minute)
	defer cancel()
	if _, stopErr := r.client.WantJail(ctx, r.name, fsm.WantStopped); stopErr != nil {
		return errors.Join(err, fmt.Errorf("stop jail %s: %w", r.name, stopErr))
	}
	_, stopErr := r.until(ctx, over)
	return errors.Join(err, stopErr)
}

// verdict makes the command's end rexctl's own.
func (r *runner) verdict(ctx context.Context) error {
	show, err := r.client.Jail(ctx, r.name)
	if err != nil {
		return err
	}
	run := show.Run
	switch {
	case run == nil:
		return fmt.Errorf("jail %s has not run\n  try: rexctl why %s", r.name, r.name)
	case run.Exit == nil || !run.Exit.Known:
		return fmt.Errorf("jail %s: %s: %s\n  try: rexctl why %s", r.name, run.Phase, clean(run.Reason), r.name)
	case run.Exit.Signal != "" || run.Exit.OOM:
		r.e.note("jail %s: %s", r.name, exitText(run.Exit))
	}
	if run.Exit.Code != 0 {
		return &exit{code: run.Exit.Code}
	}
	return nil
}
