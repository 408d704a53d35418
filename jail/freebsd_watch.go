package jail

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// waiter waits for the end of a process.
type waiter func(ctx context.Context) (code int, known bool, err error)

// ofChild is the waiter for a process that we started. It reaps also after ctx has ended: a zombie would keep a jail that is
// gone dying for ever.
func ofChild(wait func() int) waiter {
	code := make(chan int, 1)
	go func() { code <- wait() }()
	return func(ctx context.Context) (int, bool, error) {
		select {
		case c := <-code:
			return c, true, nil
		case <-ctx.Done():
			return 0, false, ctx.Err()
		}
	}
}

// watch begins to wait for the end of t's jail: of its first process, or, without one, of the jail itself. t.mu is held.
func (f *FreeBSD) watch(t *bsdJail, wait waiter) {
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
func (f *FreeBSD) await(r *record, wait waiter) (e Exit, ok bool) {
	if wait == nil {
		return f.awaitGone(r)
	}
	code, known, err := wait(f.ctx)
	if f.ctx.Err() != nil {
		return Exit{}, false
	}
	if err != nil || !known {
		if err != nil {
			f.cfg.Log.Warn("end of the jail's process not seen", "jail", r.Spec.Name, "err", err)
		}
		return Exit{Code: -1, At: time.Now()}, true
	}
	e = exitFrom(code)
	e.OOM = f.wantedMemory(f.ctx, r, e)
	return e, true
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

// startOf is when the process began; 0 when it has ended already.
func (f *FreeBSD) startOf(pid int) uint64 {
	all, err := f.kern.processes()
	if err != nil {
		return 0
	}
	for _, p := range all {
		if p.pid == pid {
			return p.started
		}
	}
	return 0
}
