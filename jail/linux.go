package jail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// LinuxConfig is what NewLinux needs.
type LinuxConfig struct {
	StateDir string       // absolute, of this Instance alone, best on a tmpfs below /run; made when missing
	Instance string       // [a-z0-9-]{1,32}: names the parent control group, so that daemons can share a machine
	Runtime  string       // "", "runc", "crun" or an absolute path: what to try; empty: crun where it works, else runc
	Runner   run.Runner   // nil: run.Real
	Log      *slog.Logger // nil: none
}

// Linux runs jails by an OCI runtime. Create it by NewLinux, and Close it.
type Linux struct {
	cfg     LinuxConfig
	cg      *cgroups
	warm    warmer
	boot    string
	seccomp sync.Map // joined capabilities -> json.RawMessage

	probing sync.Mutex // held by Probe
	rt      *runtime   // what Probe chose; guarded by mu
	feat    Features   // guarded by mu

	mu     sync.Mutex
	jails  map[string]*tracked // guarded by mu; an entry lives from Start or adoption to Remove
	wg     sync.WaitGroup
	ctx    context.Context //nolint:containedctx // ends the watchers; owned by Close
	cancel context.CancelFunc
}

// tracked is one jail.
type tracked struct {
	op sync.Mutex // one Start, Stop, Remove or Update at a time

	mu   sync.Mutex    // guards the rest
	rec  *record       // nil: not started, or removed
	proc *process      // nil: not watched
	done chan struct{} // closed by the watcher; nil: not watched
}

// NewLinux returns a driver. It looks at the host but starts nothing.
func NewLinux(cfg LinuxConfig) (*Linux, error) {
	if cfg.Runner == nil {
		cfg.Runner = run.Real{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if !filepath.IsAbs(cfg.StateDir) {
		return nil, fmt.Errorf("jail state directory %q is not absolute", cfg.StateDir)
	}
	if len(cfg.Instance) > 32 || !idPattern.MatchString(cfg.Instance) {
		return nil, fmt.Errorf("instance name %q is not [a-z0-9-]{1,32}", cfg.Instance)
	}
	if err := os.MkdirAll(cfg.StateDir, 0o711); err != nil {
		return nil, fmt.Errorf("make jail state directory: %w", err)
	}
	cg, err := detectCgroups(cfg.Instance)
	if err != nil {
		return nil, err
	}
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("find our own control group: %w", err)
	}
	l := &Linux{cfg: cfg, cg: cg, warm: warmer{file: cg.ownProcs(string(self))}, boot: bootID(), jails: map[string]*tracked{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// Close ends the watchers and waits for them. Jails go on.
func (l *Linux) Close() error {
	l.cancel()
	l.wg.Wait()
	l.cg.removeParents()
	return nil
}

func (l *Linux) dir(id string) string         { return filepath.Join(l.cfg.StateDir, id) }
func (l *Linux) runtimeRoot() string          { return filepath.Join(l.cfg.StateDir, ".runtime") }
func (l *Linux) runtimeDir(id string) string  { return filepath.Join(l.runtimeRoot(), id) }
func (l *Linux) runtimeLog(id string) string  { return filepath.Join(l.dir(id), "runtime.log") }
func (l *Linux) lockName(id string) string    { return filepath.Join(l.dir(id), "lock") }
func (l *Linux) pidFileName(id string) string { return filepath.Join(l.dir(id), "pid") }

// get returns the jail, adopting what a predecessor left; ErrNotFound when there is nothing.
func (l *Linux) get(id string) (*tracked, error) {
	if !idPattern.MatchString(id) {
		return nil, ErrNotFound
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.jails[id]; t != nil {
		return t, nil
	}
	rec, err := loadRecord(l.dir(id))
	if err != nil {
		return nil, err
	}
	t := &tracked{rec: rec}
	l.adopt(t)
	l.jails[id] = t
	return t, nil
}

// slot is get for Start: it makes the entry when there is none.
func (l *Linux) slot(id string) *tracked {
	if t, err := l.get(id); err == nil {
		return t
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.jails[id]; t != nil {
		return t
	}
	t := &tracked{}
	l.jails[id] = t
	return t
}

// adopt finds out what became of a jail that another daemon started, and watches it when it runs.
func (l *Linux) adopt(t *tracked) {
	r := t.rec
	if r.Exit != nil {
		return
	}
	id := r.Spec.ID
	if r.Boot == l.boot {
		pid := r.PID
		if pid == 0 { // the daemon died between the runtime and its own note
			pid = readPID(l.dir(id))
		}
		if pid != 0 && l.adoptProcess(t, pid) {
			l.cfg.Log.Info("jail adopted", "jail", r.Spec.Name, "id", id, "pid", pid)
			return
		}
		if r.PID == 0 {
			return // half made: Created
		}
	}
	r.Exit = &Exit{Code: -1, At: time.Now()}
	if err := r.save(l.dir(id)); err != nil {
		l.cfg.Log.Warn("jail record not written", "jail", r.Spec.Name, "id", id, "err", err)
	}
}

func (l *Linux) adoptProcess(t *tracked, pid int) bool {
	p, err := openProcess(pid)
	if err != nil {
		return false
	}
	ticks, err := startTicks(pid)
	same := err == nil && (t.rec.Ticks == 0 || t.rec.Ticks == ticks) && inGroup(pid, l.cg.path(t.rec.Spec.ID))
	if !same {
		_ = p.close()
		return false
	}
	if t.rec.PID == 0 {
		t.rec.PID, t.rec.Ticks = pid, ticks
	}
	l.watch(t, p)
	return true
}

// watch begins to wait for p. The caller owns t.
func (l *Linux) watch(t *tracked, p *process) {
	t.proc, t.done = p, make(chan struct{})
	done := t.done
	l.wg.Go(func() {
		exit, err := p.wait(l.ctx)
		if err != nil {
			if l.ctx.Err() == nil {
				l.cfg.Log.Error("jail no longer watched", "id", t.rec.Spec.ID, "err", err)
			}
			_ = p.close()
			return
		}
		l.ended(t, p, exit)
		close(done)
	})
}

// ended notes the exit, once.
func (l *Linux) ended(t *tracked, p *process, exit Exit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = p.close()
	t.proc = nil
	if t.rec == nil {
		return
	}
	id := t.rec.Spec.ID
	exit.OOM = (exit.Signal == "SIGKILL" || exit.Code == 137 || !exit.Known) && l.cg.oomKills(id) > 0
	t.rec.Exit = &exit
	if err := t.rec.save(l.dir(id)); err != nil {
		l.cfg.Log.Warn("jail record not written", "jail", t.rec.Spec.Name, "id", id, "err", err)
	}
}

// List returns every jail of this Instance.
func (l *Linux) List(ctx context.Context) ([]Status, error) {
	entries, err := os.ReadDir(l.cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("list jails: %w", err)
	}
	var out []Status
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if strings.HasPrefix(e.Name(), ".") || !e.IsDir() {
			continue
		}
		t, err := l.get(e.Name())
		if err != nil { // unreadable or half made without a record: to be removed or started again
			if !errors.Is(err, ErrNotFound) {
				l.cfg.Log.Warn("jail record not readable", "id", e.Name(), "err", err)
			}
			out = append(out, Status{ID: e.Name(), Phase: Created})
			continue
		}
		if s, ok := t.status(); ok {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (t *tracked) status() (Status, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec == nil {
		return Status{}, false
	}
	return t.rec.status(), true
}

// Wait returns when the jail has ended.
func (l *Linux) Wait(ctx context.Context, id string) (Status, error) {
	t, err := l.get(id)
	if err != nil {
		return Status{}, fmt.Errorf("wait for jail %s: %w", id, err)
	}
	t.mu.Lock()
	done, ended := t.done, t.rec == nil || t.rec.Exit != nil
	t.mu.Unlock()
	if done == nil && !ended {
		return Status{}, fmt.Errorf("wait for jail %s: %w", id, ErrNotRunning)
	}
	if done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return Status{}, ctx.Err()
		case <-l.ctx.Done():
			return Status{}, fmt.Errorf("wait for jail %s: driver closed: %w", id, context.Canceled)
		}
	}
	s, ok := t.status()
	if !ok {
		return Status{ID: id, Phase: Stopped, Exit: &Exit{Code: -1}}, nil
	}
	return s, nil
}
