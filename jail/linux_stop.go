package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Stop ends the jail: SIGTERM, timeout, SIGKILL. The kernel takes every process of a pid namespace along with its first one.
func (l *Linux) Stop(ctx context.Context, id string, timeout time.Duration) (Status, error) {
	t, err := l.get(id)
	if errors.Is(err, ErrNotFound) {
		return Status{ID: id, Phase: Stopped, Exit: &Exit{Code: -1}}, nil
	}
	if err != nil {
		return Status{}, fmt.Errorf("stop jail %s: %w", id, err)
	}
	t.op.Lock()
	defer t.op.Unlock()
	if err := l.stop(ctx, t, timeout); err != nil {
		return Status{}, fmt.Errorf("stop jail %s: %w", id, err)
	}
	if err := l.cg.kill(ctx, id); err != nil { // half made, or adopted too late: nothing may stay behind
		return Status{}, fmt.Errorf("stop jail %s: %w", id, err)
	}
	st, ok := t.status()
	if !ok || st.Phase == Created {
		return Status{ID: id, Name: st.Name, UUID: st.UUID, Seq: st.Seq, Phase: Stopped, Exit: &Exit{Code: -1}}, nil
	}
	return st, nil
}

func (l *Linux) stop(ctx context.Context, t *tracked, timeout time.Duration) error {
	t.mu.Lock()
	done, p := t.done, t.proc
	if timeout <= 0 && t.rec != nil {
		timeout = t.rec.Spec.StopTimeout
	}
	t.mu.Unlock()
	if p == nil {
		return nil
	}
	if timeout <= 0 {
		timeout = defaultStop
	}
	if err := l.signal(t, syscall.SIGTERM); err != nil {
		return err
	}
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	select {
	case <-done:
		return nil
	case <-limit.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := l.signal(t, syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// signal goes to the jail's first process, unless it has ended.
func (l *Linux) signal(t *tracked, sig syscall.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.proc == nil {
		return nil
	}
	return t.proc.signal(int(sig))
}

// Remove kills what runs and deletes the cgroups, the bundle and the runtime's state.
func (l *Linux) Remove(ctx context.Context, id string) error {
	if !idPattern.MatchString(id) {
		return nil
	}
	t := l.slot(id)
	t.op.Lock()
	defer t.op.Unlock()
	if err := l.remove(ctx, t, id); err != nil {
		return fmt.Errorf("remove jail %s: %w", id, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.jails, id)
	return nil
}

func (l *Linux) remove(ctx context.Context, t *tracked, id string) error {
	if err := l.signal(t, syscall.SIGKILL); err != nil {
		return err
	}
	t.mu.Lock()
	done, running := t.done, t.proc != nil
	t.mu.Unlock()
	if running {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := l.awaitRuntime(ctx, id); err != nil {
		return err
	}
	t.mu.Lock()
	t.rec, t.done = nil, nil
	t.mu.Unlock()
	return l.scrub(ctx, id)
}

// scrub deletes everything that Start makes, whoever made it and however far it came. `runc delete` would do the same
// for ten times the price: all that the runtimes keep is below their --root and in the cgroups, whose path we chose.
func (l *Linux) scrub(ctx context.Context, id string) error {
	if err := l.cg.kill(ctx, id); err != nil {
		return err
	}
	if err := l.cg.remove(ctx, id); err != nil {
		return err
	}
	if err := os.RemoveAll(l.runtimeDir(id)); err != nil {
		return fmt.Errorf("remove runtime state: %w", err)
	}
	if err := os.RemoveAll(l.dir(id)); err != nil {
		return fmt.Errorf("remove bundle: %w", err)
	}
	return nil
}
