package jail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

const (
	jailPath  = "/usr/sbin/jail"
	jexecPath = "/usr/sbin/jexec"
)

// kernelName is what a jail may be called: safe as an argument of jail(8), a part of an rctl(8) rule and a file name. A dot
// would make it a child of another jail, digits alone a jid.
var kernelName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Start makes the jail and starts its first process: configuration, limits, jail -c, processors, network, and then the
// command, each repeatable.
func (f *FreeBSD) Start(ctx context.Context, s Spec) (Status, error) {
	st, err := f.start(ctx, s)
	if err != nil {
		return Status{}, fmt.Errorf("start jail %s: %w", s.Name, err)
	}
	return st, nil
}

func (f *FreeBSD) start(ctx context.Context, s Spec) (Status, error) {
	if err := s.check(); err != nil {
		return Status{}, err
	}
	t, err := f.slot(ctx, s.ID)
	if err != nil {
		return Status{}, err
	}
	t.op.Lock()
	defer t.op.Unlock()
	if st, ok := t.status(); ok && st.Phase == Running {
		return st, nil
	}
	t.mu.Lock()
	t.rec, t.done = nil, nil
	t.mu.Unlock()
	if err := f.scrub(ctx, s.ID); err != nil {
		return Status{}, fmt.Errorf("clean up what an earlier start left: %w", err)
	}
	rec, wait, err := f.make(ctx, s)
	if err != nil {
		// ctx may be the reason; what was half made must go all the same.
		return Status{}, errors.Join(err, f.scrub(context.WithoutCancel(ctx), s.ID))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec = rec
	st := rec.status()
	f.watch(t, wait)
	return st, nil
}

// make does the steps of a start. Before the first one that leaves a trace on the host the record says what they are for.
func (f *FreeBSD) make(ctx context.Context, s Spec) (*record, waiter, error) {
	feats, err := f.features(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := checkStart(s); err != nil {
		return nil, nil, err
	}
	num, rules, err := rulesetOf(s)
	if err != nil {
		return nil, nil, err
	}
	if err := makePlaces(s); err != nil {
		return nil, nil, err
	}
	name, err := f.chooseName(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	rec := &record{Spec: s, Jail: name, StartedAt: time.Now()}
	if err := os.MkdirAll(f.dir(s.ID), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := rec.save(f.dir(s.ID)); err != nil {
		return nil, nil, err
	}
	if err := f.ensureRuleset(ctx, num, rules); err != nil {
		return nil, nil, err
	}
	if err := f.writeConf(ctx, rec, num, stopTime(s, 0), feats); err != nil {
		return nil, nil, err
	}
	if err := f.setLimits(ctx, name, s.Limits); err != nil {
		return nil, nil, err
	}
	if err := f.mountFiles(ctx, s); err != nil {
		return nil, nil, err
	}
	argv := []string{jailPath, "-f", f.confFile(name), "-q", "-c", name}
	if _, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: argv, Timeout: execTimeout * time.Second}); err != nil {
		return nil, nil, err
	}
	if err := f.setCPUs(ctx, name, s.Limits.CPUSet); err != nil {
		return nil, nil, err
	}
	wait, err := f.launch(ctx, rec, feats)
	return rec, wait, err
}

// mountFiles mounts what is a file upon a file: jail(8) takes directories alone. makePlaces has made the way there, without
// links, and nobody runs in the jail yet who could put one in.
func (f *FreeBSD) mountFiles(ctx context.Context, s Spec) error {
	for _, m := range s.Mounts {
		if !isFile(m.Source) {
			continue
		}
		argv := []string{"/sbin/mount", "-t", "nullfs", "-o", m.options(), m.Source, path.Join(s.Root, m.Target)}
		if _, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: argv, Timeout: toolLimit}); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	return nil
}

// launch starts the first process, or the services of a whole system.
func (f *FreeBSD) launch(ctx context.Context, rec *record, feats *bsdFeatures) (waiter, error) {
	s := rec.Spec
	out, err := openLog(s.LogPath)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	user, err := lookupAccount(s.Root, s.User)
	if err != nil {
		return nil, err
	}
	j, err := f.ours(ctx, rec)
	if err != nil {
		return nil, err
	}
	if j == nil {
		return nil, fmt.Errorf("jail %s is gone again", rec.Jail)
	}
	c, err := command(s.Root, j, user, s.WorkDir, s.Argv, envOf(s.Env, user, false), feats)
	if err != nil {
		return nil, err
	}
	// A file and no pipe, so that the jail does not depend on us.
	c.Stdout, c.Stderr, c.NewSession, c.Timeout = out, out, true, execTimeout*time.Second
	if s.boots() {
		if _, err := f.cfg.Runner.Run(ctx, c); err != nil {
			return nil, fmt.Errorf("/etc/rc of the jail: %w", err)
		}
		rec.Booted = true
		return nil, rec.save(f.dir(s.ID))
	}
	pid, end, err := f.begin(c)
	if err != nil {
		return nil, err
	}
	wait := ofChild(end)
	rec.PID, rec.Ticks = pid, f.startOf(pid)
	return wait, rec.save(f.dir(s.ID))
}

// checkStart finds what would keep s from starting, before anything is made.
func checkStart(s Spec) error {
	if fi, err := os.Stat(s.Root); err != nil || !fi.IsDir() {
		return fmt.Errorf("root file system %s is not there: %w", s.Root, errors.Join(err, fs.ErrNotExist))
	}
	if s.NetNS != "" && !kernelName.MatchString(s.NetNS) {
		return fmt.Errorf("network namespace %q is not the name of a jail", s.NetNS)
	}
	if _, err := s.caps(); err != nil {
		return err
	}
	if s.IDMap.Size > 0 {
		return fmt.Errorf("%w: this system has no id mapping", ErrFinal)
	}
	user, err := lookupAccount(s.Root, s.User)
	if err != nil {
		return err
	}
	if _, err := lookCommand(s.Root, s.Argv[0], s.WorkDir, envOf(s.Env, user, false), s.Mounts); err != nil {
		return fmt.Errorf("%w: %w in the jail's root", ErrFinal, err)
	}
	return nil
}

// makePlaces makes what is mounted upon, beneath the root: jail(8) makes nothing, and refuses links.
func makePlaces(s Spec) error {
	root, err := os.OpenRoot(s.Root)
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer root.Close()
	if err := root.MkdirAll("dev", 0o755); err != nil {
		return fmt.Errorf("make /dev of the jail: %w", err)
	}
	for _, m := range s.Mounts {
		at := strings.TrimPrefix(path.Clean(m.Target), "/")
		info, err := os.Stat(m.Source)
		if err != nil {
			return fmt.Errorf("mount at %s: %w", m.Target, err)
		}
		dir := at
		if !info.IsDir() {
			dir = path.Dir(at)
		}
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make mount point %s: %w", m.Target, err)
		}
		if info.IsDir() {
			continue
		}
		file, err := root.OpenFile(at, os.O_CREATE|os.O_RDONLY, 0o644)
		if err != nil {
			return fmt.Errorf("make mount point %s: %w", m.Target, err)
		}
		if err := file.Close(); err != nil {
			return fmt.Errorf("make mount point %s: %w", m.Target, err)
		}
	}
	return nil
}
