package jail

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Exec runs a command in the jail by jexec(8), without a shell between.
func (f *FreeBSD) Exec(ctx context.Context, id string, x Exec) (int, error) {
	code, err := f.exec(ctx, id, x)
	if err != nil {
		return code, fmt.Errorf("exec in jail %s: %w", id, err)
	}
	return code, nil
}

func (f *FreeBSD) exec(ctx context.Context, id string, x Exec) (int, error) {
	t, err := f.get(ctx, id)
	if err != nil {
		return -1, err
	}
	t.mu.Lock()
	var spec Spec
	var name string
	running := t.rec != nil && t.rec.status().Phase == Running
	if running {
		spec, name = t.rec.Spec, t.rec.Jail
	}
	t.mu.Unlock()
	if !running {
		return -1, ErrNotRunning
	}
	if len(x.Argv) == 0 || x.Argv[0] == "" {
		return -1, errors.New("empty command")
	}
	if err := checkStrings(x.Argv, x.Env); err != nil {
		return -1, err
	}
	feats, err := f.features(ctx)
	if err != nil {
		return -1, err
	}
	user, err := lookupAccount(spec.Root, x.User)
	if err != nil {
		return -1, err
	}
	env := envOf(append(slices.Clone(spec.Env), x.Env...), user, x.TTY)
	j, err := f.kernelJail(ctx, name)
	if err != nil {
		return -1, err
	}
	if j == nil {
		return -1, ErrNotRunning
	}
	c, err := command(spec.Root, j, user, x.WorkDir, x.Argv, env, feats)
	if errors.Is(err, errNoCommand) || errors.Is(err, errNotExecutable) {
		return refuse(x, err)
	}
	if err != nil {
		return -1, err
	}
	c.Timeout, c.Grace = run.NoTimeout, execGrace
	if x.TTY {
		err = onTerminal(ctx, f.cfg.Runner, c, x, false, nil)
	} else {
		err = onPipes(ctx, f.cfg.Runner, c, x)
	}
	if ctx.Err() != nil {
		return -1, ctx.Err()
	}
	if err == nil {
		return 0, nil
	}
	if e, ok := errors.AsType[*run.Error](err); ok && e.RC >= 0 {
		return e.RC, nil
	}
	return -1, err
}
