package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// runtimeLimit bounds one call of the runtime; it takes milliseconds unless the host is in trouble.
const runtimeLimit = 30 * time.Second

// Start creates and starts the jail.
func (l *Linux) Start(ctx context.Context, s Spec) (Status, error) {
	if err := s.check(); err != nil {
		return Status{}, fmt.Errorf("start jail %s: %w", s.Name, err)
	}
	rt, err := l.chosen(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("start jail %s: %w", s.Name, err)
	}
	st, err := l.startWith(ctx, rt, s)
	if err != nil {
		return Status{}, fmt.Errorf("start jail %s: %w", s.Name, err)
	}
	return st, nil
}

func (l *Linux) startWith(ctx context.Context, rt *runtime, s Spec) (Status, error) {
	t := l.slot(s.ID)
	t.op.Lock()
	defer t.op.Unlock()
	if st, ok := t.status(); ok && st.Phase == Running {
		return st, nil
	}
	if st, err := l.settle(ctx, t, s.ID); err != nil || st.Phase == Running {
		return st, err
	}
	if err := l.prepare(s); err != nil {
		return Status{}, errors.Join(err, l.scrub(ctx, s.ID))
	}
	rec := &record{Spec: s, Boot: l.boot, Runtime: rt.path, StartedAt: time.Now()}
	if err := rec.save(l.dir(s.ID)); err != nil {
		return Status{}, errors.Join(err, l.scrub(ctx, s.ID))
	}
	if err := l.launch(ctx, rt, s); err != nil {
		// ctx may be the reason; what was half made must go all the same.
		return Status{}, errors.Join(err, l.scrub(context.WithoutCancel(ctx), s.ID))
	}
	rec.PID = readPID(l.dir(s.ID))
	p, err := openProcess(rec.PID)
	if errors.Is(err, errGone) { // it ended, and somebody else reaped it
		p, err = nil, nil
		rec.Exit = &Exit{Code: -1, At: time.Now()}
	}
	if err != nil {
		return Status{}, errors.Join(err, l.scrub(context.WithoutCancel(ctx), s.ID))
	}
	rec.Ticks, _ = startTicks(rec.PID) // 0 when it has ended already: inGroup decides then
	if err := rec.save(l.dir(s.ID)); err != nil {
		return Status{}, errors.Join(err, l.scrub(context.WithoutCancel(ctx), s.ID))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec = rec
	st := rec.status()
	if p != nil {
		l.watch(t, p)
	}
	return st, nil
}

// settle deals with what an earlier Start left: a runtime that is still at work is waited for, what runs is adopted, the
// rest is removed.
func (l *Linux) settle(ctx context.Context, t *tracked, id string) (Status, error) {
	if !exists(l.dir(id)) {
		return Status{}, nil
	}
	if err := l.awaitRuntime(ctx, id); err != nil {
		return Status{}, err
	}
	t.mu.Lock()
	if t.rec != nil && t.rec.Exit == nil && t.proc == nil {
		l.adopt(t)
	}
	t.mu.Unlock()
	if st, ok := t.status(); ok && st.Phase == Running {
		return st, nil
	}
	t.mu.Lock()
	t.rec, t.done = nil, nil
	t.mu.Unlock()
	return Status{}, l.scrub(ctx, id)
}

// awaitRuntime returns when no runtime of an earlier daemon is at work on the jail: it holds the lock while it runs.
func (l *Linux) awaitRuntime(ctx context.Context, id string) error {
	f, err := os.OpenFile(l.lockName(id), os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	defer f.Close()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if ok, err := tryLock(f); ok || err != nil {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("wait for the runtime that an earlier daemon started: %w", err)
		}
	}
}

// prepare writes the bundle.
func (l *Linux) prepare(s Spec) error {
	if fi, err := os.Stat(s.Root); err != nil || !fi.IsDir() {
		return fmt.Errorf("root file system %s is not there: %w", s.Root, errors.Join(err, fs.ErrNotExist))
	}
	if s.NetNS != "" && !exists(s.NetNS) {
		return fmt.Errorf("network namespace %s: %w", s.NetNS, fs.ErrNotExist)
	}
	caps, err := s.caps()
	if err != nil {
		return err
	}
	user, err := lookupAccount(s.Root, s.User)
	if err != nil {
		return err
	}
	env := envOf(s.Env, user, false)
	if _, err := lookCommand(s.Root, s.Argv[0], s.WorkDir, env, s.Mounts); err != nil {
		return fmt.Errorf("%w: %w in the jail's root", ErrFinal, err)
	}
	filter, err := l.filter(caps)
	if err != nil {
		return err
	}
	b := bundle{
		caps: caps, seccomp: filter, cgroupsPath: l.cg.path(s.ID), swap: l.cg.canLimitSwap(),
		openFiles: hardOpenFiles(), oomScore: ownOOMScore(), user: user,
	}
	config, err := b.config(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir(s.ID), 0o700); err != nil {
		return fmt.Errorf("make bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(l.dir(s.ID), "config.json"), config, 0o600); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

// launch runs the runtime until the jail's process runs. The lock goes along as a descriptor: it is free again only when
// the runtime has ended too, so a successor of ours cannot get in between.
func (l *Linux) launch(ctx context.Context, rt *runtime, s Spec) error {
	lock, err := os.OpenFile(l.lockName(s.ID), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	defer lock.Close()
	if ok, err := tryLock(lock); err != nil || !ok {
		return fmt.Errorf("lock %s: %w", lock.Name(), errors.Join(err, errors.New("another daemon uses this state directory")))
	}
	out, err := openLog(s.LogPath)
	if err != nil {
		return err
	}
	defer out.Close()
	logFile := l.runtimeLog(s.ID)
	_, err = l.cfg.Runner.Run(ctx, run.Cmd{
		Argv: rt.argv(l.runtimeRoot(), logFile, "run", "--detach", "--pid-file", l.pidFileName(s.ID), "--bundle", l.dir(s.ID), s.ID),
		// The jail inherits these: files, no pipes, so that it does not depend on us.
		Stdout: out, Stderr: out, Files: []*os.File{lock},
		NewSession: true, Timeout: runtimeLimit, Hide: rt.hide, CleanEnv: true,
	})
	if err != nil {
		return l.explain(err, logFile, rt)
	}
	return nil
}

// explain puts the runtime's own last message into the error.
func (l *Linux) explain(err error, logFile string, rt *runtime) error {
	raw, rerr := os.ReadFile(logFile)
	msg := lastMessage(raw)
	if rerr != nil || msg == "" {
		return err
	}
	if e, ok := errors.AsType[*run.Error](err); ok && e.RC > 0 && e.Timeout == 0 {
		return fmt.Errorf("%s: %s", rt.kind, msg)
	}
	return fmt.Errorf("%w: %s", err, msg)
}

func openLog(name string) (*os.File, error) {
	if name == "" {
		name = os.DevNull
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open log of the jail: %w", err)
	}
	return f, nil
}

// filter returns the encoded seccomp profile, built once for a set of capabilities.
func (l *Linux) filter(caps []string) (json.RawMessage, error) {
	key := strings.Join(caps, ",")
	if v, ok := l.seccomp.Load(key); ok {
		return v.(json.RawMessage), nil //nolint:forcetypeassert // only stored below
	}
	raw, err := seccompFor(caps)
	if err != nil {
		return nil, err
	}
	l.seccomp.Store(key, raw)
	return raw, nil
}

func ownOOMScore() int {
	raw, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0
	}
	return n
}
