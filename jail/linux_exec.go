package jail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Exit codes of a command that could not be run, as shells have them (sh(1), EXIT STATUS).
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// execGrace is how long a command has to end by SIGTERM when its caller goes away.
const execGrace = 2 * time.Second

// Exec runs a command in the jail by the runtime's exec, which joins every namespace, group and filter.
func (l *Linux) Exec(ctx context.Context, id string, x Exec) (int, error) {
	rt, err := l.chosen(ctx)
	if err != nil {
		return -1, fmt.Errorf("exec in jail %s: %w", id, err)
	}
	if t, err := l.get(id); err == nil {
		rt = l.startedBy(t, rt)
	}
	code, err := l.execWith(ctx, rt, id, x)
	if err != nil {
		return code, fmt.Errorf("exec in jail %s: %w", id, err)
	}
	return code, nil
}

// startedBy is the runtime that started t, which an earlier daemon may have chosen when another one was installed: a
// runtime knows its own containers only.
func (l *Linux) startedBy(t *tracked, chosen *runtime) *runtime {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec == nil || t.rec.Runtime == "" || t.rec.Runtime == chosen.path || !exists(t.rec.Runtime) {
		return chosen
	}
	return l.runtimeAt(t.rec.Runtime)
}

func (l *Linux) execWith(ctx context.Context, rt *runtime, id string, x Exec) (int, error) {
	t, err := l.get(id)
	if err != nil {
		return -1, err
	}
	t.mu.Lock()
	running := t.proc != nil && t.rec != nil
	var spec Spec
	var pid int
	if running {
		spec, pid = t.rec.Spec, t.rec.PID
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
	// The jail's own view, with what it has mounted; magic because /proc/PID/root leads into its mount namespace.
	root := "/proc/" + strconv.Itoa(pid) + "/root"
	p, err := l.execProcess(root, spec, x)
	if err != nil {
		return -1, err
	}
	if _, err := lookCommand(root, x.Argv[0], x.WorkDir, p.env, nil); err != nil {
		return refuse(x, err)
	}
	dir, err := os.MkdirTemp(l.dir(id), "exec-")
	if err != nil {
		return -1, fmt.Errorf("make exec directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "process.json"), p.json, 0o600); err != nil {
		return -1, fmt.Errorf("write process: %w", err)
	}
	verb := []string{"exec", "--process", filepath.Join(dir, "process.json"), "--pid-file", filepath.Join(dir, "pid")}
	if x.TTY {
		verb = append(verb, "--tty")
	}
	argv := func(more ...string) []string {
		return rt.argv(l.runtimeRoot(), filepath.Join(dir, "log"), append(append(verb, more...), id)...)
	}
	c := run.Cmd{Argv: argv(), Timeout: run.NoTimeout, Grace: execGrace, Hide: rt.hide, CleanEnv: true}
	switch {
	case x.TTY && rt.kind == "crun":
		err = onConsole(ctx, l.cfg.Runner, c, func(socket string) []string { return argv("--console-socket", socket) }, x)
	case x.TTY: // runc hands a terminal out only when it does not wait for the command
		err = onTerminal(ctx, l.cfg.Runner, c, x, true, func(s WinSize) { _ = resizeTerminalOf(readPID(dir), s) })
	default:
		err = onPipes(ctx, l.cfg.Runner, c, x)
	}
	if ctx.Err() != nil {
		l.killLeftover(id, dir)
		return -1, ctx.Err()
	}
	return l.execCode(err, dir, rt)
}

// refuse says on Stderr why the command cannot run, as a shell would.
func refuse(x Exec, err error) (int, error) {
	w := x.Stderr
	if x.TTY || w == nil {
		w = x.Stdout
	}
	if w != nil {
		if _, werr := fmt.Fprintf(w, "rexcarcer: %v\n", err); werr != nil {
			return -1, werr
		}
	}
	if errors.Is(err, errNoCommand) || errors.Is(err, os.ErrNotExist) {
		return codeNotFound, nil
	}
	return codeNotExecutable, nil
}

// execCode tells the command's own code from a runtime that could not start it (255 for both kinds, so its log decides).
func (l *Linux) execCode(err error, dir string, rt *runtime) (int, error) {
	if err == nil {
		return 0, nil
	}
	e, ok := errors.AsType[*run.Error](err)
	if !ok || e.RC < 0 {
		return -1, err
	}
	if !exists(filepath.Join(dir, "pid")) {
		return -1, l.explain(err, filepath.Join(dir, "log"), rt)
	}
	return e.RC, nil
}

type execSpec struct {
	json []byte
	env  []string
}

func (l *Linux) execProcess(root string, s Spec, x Exec) (execSpec, error) {
	user, err := lookupAccount(root, x.User)
	if err != nil {
		return execSpec{}, err
	}
	caps, err := s.caps()
	if err != nil {
		return execSpec{}, err
	}
	b := bundle{caps: caps, openFiles: hardOpenFiles(), oomScore: ownOOMScore(), user: user}
	env := envOf(append(slices.Clone(s.Env), x.Env...), user, x.TTY)
	p := b.process(x.Argv, env, x.WorkDir, s.Limits, x.TTY)
	raw, err := json.Marshal(p)
	if err != nil {
		return execSpec{}, fmt.Errorf("encode process: %w", err)
	}
	return execSpec{json: raw, env: env}, nil
}

// killLeftover ends the command itself when its runtime had to be killed. Only a process that is in the jail's group is
// touched: the pid may be another's by now.
func (l *Linux) killLeftover(id, dir string) {
	pid := readPID(dir)
	if pid == 0 {
		return
	}
	p, err := openProcess(pid)
	if err != nil {
		return
	}
	defer p.close()
	if inGroup(pid, l.cg.path(id)) {
		if err := p.signal(int(syscall.SIGKILL)); err != nil {
			l.cfg.Log.Warn("command of an exec not ended", "id", id, "err", err)
		}
	}
}
