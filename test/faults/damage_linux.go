package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// freezeLeader lets every write of the leader hang: its watchdog must end it, or nobody else could lead.
func freezeLeader(ctx context.Context, l *lab) (func(context.Context) error, error) {
	leads, _, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		err := wait(ctx, patience, "the watchdog of "+leads.name+" ends it", func() error {
			if last := leads.tail(3); !strings.Contains(last, "msg=ending") {
				return errors.New("it has not said so")
			}
			return nil
		})
		if err := errors.Join(err, leads.thaw()); err != nil {
			return err
		}
		// A thread that waits for a frozen disk cannot die: so only now the process is gone for good.
		code, err := leads.ended(ctx, patience)
		if err == nil && code != 1 {
			err = fmt.Errorf("%s ended with code %d, want 1 of its watchdog", leads.name, code)
		}
		return errors.Join(err, leads.start())
	}, leads.freeze()
}

// fillLeader leaves the leader no byte to write. It may end or go on as a follower; it must come back.
func fillLeader(ctx context.Context, l *lab) (func(context.Context) error, error) {
	leads, _, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := leads.clean(); err != nil {
			return err
		}
		return wait(ctx, patience, leads.name+" answers", func() error {
			if !leads.running() { // a service manager would do it
				if err := errors.Join(leads.kill(), leads.start()); err != nil {
					return err
				}
			}
			_, err := l.status(ctx, leads)
			return err
		})
	}, leads.fill()
}

// damaged kills a follower and damages files of its log: it must refuse to start, in one line, and can come back as a new host.
func damaged(which string, how func(path string) error) func(context.Context, *lab) (func(context.Context) error, error) {
	return func(ctx context.Context, l *lab) (func(context.Context) error, error) {
		h, err := l.victim(ctx)
		if err == nil {
			err = h.kill()
		}
		if err == nil {
			err = eachFile(filepath.Join(h.data, "raft", which), how)
		}
		if err == nil {
			err = h.start()
		}
		if err != nil {
			return nil, err
		}
		code, err := h.ended(ctx, patience)
		if last := h.tail(1); err == nil && (code == 0 || code == 2 || !strings.Contains(last, strings.TrimSuffix(which, "*"))) {
			err = fmt.Errorf("%s ended with code %d and said %q, want one line on %s", h.name, code, last, which)
		}
		if err != nil {
			return nil, err
		}
		l.say("%s says: %s", h.name, h.tail(1))
		return func(ctx context.Context) error { return l.replace(ctx, h) }, nil
	}
}

// victim is a follower that is not the first host, whose labels are the registers.
func (l *lab) victim(ctx context.Context) (*host, error) {
	_, rest, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	return rest[slices.IndexFunc(rest, func(h *host) bool { return h != l.all[0] })], nil
}

// replace wipes a host and lets it join as a new one.
func (l *lab) replace(ctx context.Context, h *host) error {
	at := l.all[0]
	err := wait(ctx, patience, "the old "+h.name+" is removed", func() error {
		ctx, cancel := asking(ctx)
		defer cancel()
		_, err := at.client.RemoveHost(ctx, h.name, true)
		if e := (*api.Error)(nil); errors.As(err, &e) && e.Code == "not_found" {
			return nil
		}
		return err
	})
	if err == nil {
		err = os.RemoveAll(h.data)
	}
	if err == nil {
		err = l.join(ctx, h, at)
	}
	if err == nil {
		err = h.start()
	}
	if err == nil {
		err = l.answers(ctx, h)
	}
	return err
}

func eachFile(pattern string, do func(path string) error) error {
	paths, err := filepath.Glob(pattern)
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("there is no %s", pattern)
	}
	for _, path := range paths {
		err = errors.Join(err, do(path))
	}
	return err
}

func cutFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()/2)
}

// flipFile turns bits all over the file, but for its head, as a bad disk does.
func flipFile(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for at := 1021; at < len(b); at += 1021 {
		b[at] ^= 0x5a
	}
	return os.WriteFile(path, b, 0o600)
}

// badSnapshot kills a follower and turns bits of its newest snapshot: it must come
// back by itself, from an older one or from the others, with the right State.
func badSnapshot(ctx context.Context, l *lab) (func(context.Context) error, error) {
	h, err := l.victim(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.pump(ctx, h); err != nil {
		return nil, err
	}
	if err := h.kill(); err != nil {
		return nil, err
	}
	all, err := h.snapshots()
	if err != nil || len(all) == 0 {
		return nil, errors.Join(errors.New("there is no snapshot"), err)
	}
	path := filepath.Join(all[len(all)-1], "state.bin")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b[len(b)/2] ^= 0x5a
	return func(context.Context) error { return nil }, errors.Join(os.WriteFile(path, b, 0o600), h.start())
}

// snapshots are h's, oldest first: their names begin with term and index, and are made of digits of one length while the test runs.
func (h *host) snapshots() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(h.data, "raft", "snapshots", "*-*-*"))
	all = slices.DeleteFunc(all, func(s string) bool { return strings.HasSuffix(s, ".tmp") })
	slices.SortFunc(all, func(a, b string) int { return made(a).Compare(made(b)) })
	return all, err
}

func made(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// pump writes until h has two snapshots.
func (l *lab) pump(ctx context.Context, h *host) error {
	o, err := l.begin(ctx, 128, time.Millisecond)
	if err != nil {
		return err
	}
	err = wait(ctx, patience, h.name+" has two snapshots", func() error {
		all, err := h.snapshots()
		if err == nil && len(all) < 2 {
			err = fmt.Errorf("it has %d", len(all))
		}
		return err
	})
	o.stop()
	return errors.Join(err, o.tidy(ctx))
}
