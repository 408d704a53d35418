package jail

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// watch begins to wait for the end of t's jail: by wait, when we started its process, else by the kernel's word. t.mu is
// held.
func (f *FreeBSD) watch(t *bsdJail, wait func() int) {
	t.done = make(chan struct{})
	done, rec := t.done, *t.rec
	f.wg.Go(func() {
		exit, ok := f.await(&rec, wait)
		if !ok {
			return // closed: the jail runs on
		}
		f.ended(t, exit)
		close(done)
	})
}

// await returns how the jail's first process ended; ok is false when the driver was closed first.
func (f *FreeBSD) await(r *record, wait func() int) (e Exit, ok bool) {
	switch {
	case wait != nil:
		code := make(chan int, 1)
		go func() { code <- wait() }() // reaps, also after Close: a zombie would keep a dead jail dying for ever
		select {
		case c := <-code:
			return exitFrom(c), true
		case <-f.ctx.Done():
			return Exit{}, false
		}
	case r.Booted:
		return f.awaitGone(r)
	}
	code, known, err := f.kern.exited(f.ctx, r.PID)
	if f.ctx.Err() != nil {
		return Exit{}, false
	}
	if err != nil || !known {
		if err != nil {
			f.cfg.Log.Warn("end of the jail's process not seen", "jail", r.Spec.Name, "err", err)
		}
		return Exit{Code: -1, At: time.Now()}, true
	}
	return exitFrom(code), true
}

// awaitGone polls jls(8) until the jail of a whole system is not there any more.
func (f *FreeBSD) awaitGone(r *record) (Exit, bool) {
	tick := time.NewTicker(f.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-f.ctx.Done():
			return Exit{}, false
		}
		j, err := f.ours(f.ctx, r)
		if f.ctx.Err() != nil {
			return Exit{}, false
		}
		if err == nil && j == nil {
			return Exit{Code: -1, At: time.Now()}, true
		}
	}
}

// exitFrom reads an exit code as shells write it.
func exitFrom(code int) Exit {
	e := Exit{Known: true, Code: code, At: time.Now()}
	if code > 128 && code < 128+64 {
		e.Signal = signalName(code - 128)
	}
	return e
}

func signalName(n int) string {
	for name, s := range map[string]syscall.Signal{
		"SIGHUP": syscall.SIGHUP, "SIGINT": syscall.SIGINT, "SIGQUIT": syscall.SIGQUIT, "SIGILL": syscall.SIGILL, "SIGABRT": syscall.SIGABRT,
		"SIGFPE": syscall.SIGFPE, "SIGKILL": syscall.SIGKILL, "SIGBUS": syscall.SIGBUS, "SIGSEGV": syscall.SIGSEGV, "SIGPIPE": syscall.SIGPIPE,
		"SIGALRM": syscall.SIGALRM, "SIGTERM": syscall.SIGTERM,
	} {
		if int(s) == n {
			return name
		}
	}
	return fmt.Sprintf("signal %d", n)
}

// ended notes the exit, once.
func (f *FreeBSD) ended(t *bsdJail, exit Exit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec == nil || t.rec.Exit != nil {
		return
	}
	t.rec.Exit = &exit
	if err := t.rec.save(f.dir(t.rec.Spec.ID)); err != nil {
		f.cfg.Log.Warn("jail record not written", "jail", t.rec.Spec.Name, "id", t.rec.Spec.ID, "err", err)
	}
}

// Wait returns when the jail has ended.
func (f *FreeBSD) Wait(ctx context.Context, id string) (Status, error) {
	t, err := f.get(ctx, id)
	if err != nil {
		return Status{}, fmt.Errorf("wait for jail %s: %w", id, err)
	}
	t.mu.Lock()
	done, ended := t.done, t.rec == nil || t.rec.Exit != nil
	t.mu.Unlock()
	if done == nil && !ended {
		return Status{}, fmt.Errorf("wait for jail %s: %w", id, ErrNotRunning)
	}
	if done != nil && !ended {
		select {
		case <-done:
		case <-ctx.Done():
			return Status{}, ctx.Err()
		case <-f.ctx.Done():
			return Status{}, fmt.Errorf("wait for jail %s: driver closed: %w", id, context.Canceled)
		}
	}
	s, ok := t.status()
	if !ok {
		return Status{ID: id, Phase: Stopped, Exit: &Exit{Code: -1}}, nil
	}
	return s, nil
}
