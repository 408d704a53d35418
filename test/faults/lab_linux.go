package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

const (
	patience = 2 * time.Minute // of a wait on a busy machine
	pollRate = 20 * time.Millisecond
)

// lab is a cluster of three servers on a wire of ours.
type lab struct {
	dir       string
	rexcarcer string
	subnet    netip.Prefix
	wire      *wire
	all       []*host
	hosts     int  // that were ever made
	rounds    int  // of load
	strict    bool // what a machine with too much to do may break is judged too
	say       func(format string, args ...any)
	undos     []func() error
}

// newLab forms a cluster below dir; close takes it away. flags are given to each daemon.
func newLab(ctx context.Context, dir, rexcarcer string, say func(string, ...any), flags ...string) (*lab, error) {
	l := &lab{dir: dir, rexcarcer: rexcarcer, subnet: netip.MustParsePrefix("192.0.2.0/24"), wire: newWire(), say: say}
	l.undo(l.wire.close)
	if err := l.form(ctx, flags); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) form(ctx context.Context, flags []string) error {
	for i, name := range []string{"a", "b", "c"} {
		h, err := l.newHost(ctx, name)
		if err != nil {
			return err
		}
		h.extra = slices.Clone(flags)
		if i == 0 {
			err = h.command(ctx, "init")
		} else {
			err = l.join(ctx, h, l.all[0])
		}
		if err == nil {
			err = h.start()
		}
		if err == nil {
			err = l.answers(ctx, h)
		}
		if err != nil {
			return err
		}
		l.all = append(l.all, h)
	}
	return l.well(ctx)
}

// join lets h become a server by a token of at's.
func (l *lab) join(ctx context.Context, h, at *host) error {
	made, err := at.client.CreateToken(ctx, api.TokenRequest{Role: "server"})
	if err != nil {
		return fmt.Errorf("token for %s: %w", h.name, err)
	}
	return h.command(ctx, "join", at.addr.Addr().String(), "-token", made.Token)
}

// undo is done by close, the newest first.
func (l *lab) undo(f func() error) { l.undos = append(l.undos, f) }

func (l *lab) close() error {
	var errs []error
	for _, f := range slices.Backward(l.undos) {
		errs = append(errs, f())
	}
	l.undos = nil
	return errors.Join(errs...)
}

// tell writes the ends of the logs.
func (l *lab) tell(w io.Writer) {
	for _, h := range l.all {
		fmt.Fprintf(w, "--- end of the log of %s (%s)\n%s\n", h.name, filepath.Join(h.dir, "log.txt"), h.tail(25))
	}
}

// wait asks ok until it has no complaint.
func wait(ctx context.Context, within time.Duration, what string, ok func() error) error {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(pollRate)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s: %w", what, within, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
}

// asking bounds one question.
func asking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 10*time.Second)
}

func (l *lab) answers(ctx context.Context, h *host) error {
	return wait(ctx, patience, h.name+" answers", func() error {
		select {
		case <-h.exited:
			return fmt.Errorf("it ended:\n%s", h.tail(5))
		default:
		}
		ctx, cancel := asking(ctx)
		defer cancel()
		_, err := h.client.Status(ctx)
		return err
	})
}

// well waits until all hosts say that all of them are alive and vote, and that one leads.
func (l *lab) well(ctx context.Context) error {
	return wait(ctx, patience, "the cluster is well", func() error {
		for _, h := range l.all {
			rows, err := l.rows(ctx, h)
			if err != nil {
				return err
			}
			alive, voters, leads := 0, 0, 0
			for _, r := range rows {
				if r.State == "alive" {
					alive++
				}
				if r.Voter {
					voters++
				}
				if r.Leader {
					leads++
				}
			}
			if alive != len(l.all) || voters != len(l.all) || leads != 1 {
				return fmt.Errorf("%s sees %d alive, %d voters, %d leaders", h.name, alive, voters, leads)
			}
		}
		return nil
	})
}

func (l *lab) rows(ctx context.Context, h *host) ([]api.HostRow, error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	return h.client.Hosts(ctx)
}

// leader is who leads, when all of who agree (all hosts if none is given), and the others of all.
func (l *lab) leader(ctx context.Context, who ...*host) (leads *host, rest []*host, err error) {
	if who == nil {
		who = l.all
	}
	err = wait(ctx, patience, "somebody leads", func() error {
		said := map[string]bool{}
		for _, asked := range who {
			rows, err := l.rows(ctx, asked)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(rows, func(r api.HostRow) bool { return r.Leader })
			if i < 0 {
				return fmt.Errorf("%s knows of nobody who leads", asked.name)
			}
			said[rows[i].Name] = true
		}
		if len(said) != 1 {
			return fmt.Errorf("they do not agree: %v", said)
		}
		i := slices.IndexFunc(l.all, func(h *host) bool { return said[h.name] })
		leads, rest = l.all[i], slices.Delete(slices.Clone(l.all), i, i+1)
		return nil
	})
	return leads, rest, err
}
