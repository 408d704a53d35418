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

// FreeBSDConfig is what NewFreeBSD needs.
type FreeBSDConfig struct {
	StateDir     string        // absolute, of this Instance alone; made when missing
	ConfDir      string        // where NAME.conf of each jail is written, absolute; made when missing, 0700
	Runner       run.Runner    // nil: run.Real
	Log          *slog.Logger  // nil: none
	Poll         time.Duration // how often a jail is looked at whose end nobody reports; 0: 2s
	StrictLimits bool          // refuse a jail whose limits this host cannot keep; otherwise they are only warned about
}

// FreeBSD runs jails by jail(8). Create it by NewFreeBSD, and Close it.
type FreeBSD struct {
	cfg  FreeBSDConfig
	kern kernel

	mu     sync.Mutex
	jails  map[string]*bsdJail // guarded by mu; an entry lives from Start or adoption to Remove
	counts *bool               // racct is on; nil: not asked; guarded by mu
	feats  *bsdFeatures        // nil: not asked; guarded by mu
	wg     sync.WaitGroup
	ctx    context.Context //nolint:containedctx // ends the watchers; owned by Close
	cancel context.CancelFunc
}

// kernel is what the driver needs of the host beside commands.
type kernel interface {
	// start begins a process that outlives us; wait, called once, returns its exit code (128+signal).
	start(c run.Cmd) (pid int, wait func() int, err error)
	// processes lists those that run in jails; zombies are none.
	processes() ([]jailProcess, error)
	// watch begins to watch a process that somebody else started; wait, called once, returns when it has ended or ctx ends.
	// known is false when the exit code cannot be told.
	watch(pid int) (wait func(ctx context.Context) (code int, known bool, err error), err error)
}

// jailProcess is one process of a jail.
type jailProcess struct {
	pid, jid int
	started  uint64        // microseconds; tells a pid from a later process with the same one
	rss      int64         // bytes
	cpu      time.Duration // used
}

// bsdJail is one jail.
type bsdJail struct {
	op sync.Mutex // one Start, Stop, Remove or Update at a time

	mu   sync.Mutex    // guards the rest
	rec  *record       // nil: not started, or removed
	done chan struct{} // closed by the watcher; nil: not watched
}

// NewFreeBSD returns a driver. It starts nothing.
func NewFreeBSD(cfg FreeBSDConfig) (*FreeBSD, error) { return newFreeBSD(cfg, realKernel{}) }

func newFreeBSD(cfg FreeBSDConfig, kern kernel) (*FreeBSD, error) {
	if cfg.Runner == nil {
		cfg.Runner = run.Real{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Poll <= 0 {
		cfg.Poll = 2 * time.Second
	}
	for dir, mode := range map[string]os.FileMode{cfg.StateDir: 0o711, cfg.ConfDir: 0o700} {
		if !filepath.IsAbs(dir) {
			return nil, fmt.Errorf("jail directory %q is not absolute", dir)
		}
		if err := os.MkdirAll(dir, mode); err != nil {
			return nil, fmt.Errorf("make jail directory: %w", err)
		}
	}
	cfg.Runner = tools{cfg.Runner}
	f := &FreeBSD{cfg: cfg, kern: kern, jails: map[string]*bsdJail{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f, nil
}

// Close ends the watchers. Jails run on.
func (f *FreeBSD) Close() error {
	f.cancel()
	f.wg.Wait()
	return nil
}

func (f *FreeBSD) dir(id string) string { return filepath.Join(f.cfg.StateDir, id) }

// confFile is named after the jail, without the parent whose network it shares.
func (f *FreeBSD) confFile(name string) string {
	return filepath.Join(f.cfg.ConfDir, name[strings.LastIndexByte(name, '.')+1:]+".conf")
}

// get returns the jail of this id, adopting it when a predecessor started it; ErrNotFound when there is none.
func (f *FreeBSD) get(ctx context.Context, id string) (*bsdJail, error) {
	if !idPattern.MatchString(id) {
		return nil, ErrNotFound
	}
	f.mu.Lock()
	t := f.jails[id]
	f.mu.Unlock()
	if t != nil {
		return t, nil
	}
	rec, err := loadRecord(f.dir(id))
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	if t = f.jails[id]; t == nil {
		t = &bsdJail{rec: rec}
		f.jails[id] = t
		t.mu.Lock() // nobody sees it half adopted
		f.mu.Unlock()
		err = f.adopt(ctx, t)
		t.mu.Unlock()
		if err != nil {
			f.forget(id, t)
		}
		return t, err
	}
	f.mu.Unlock()
	return t, nil
}

func (f *FreeBSD) forget(id string, t *bsdJail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.jails[id] == t {
		delete(f.jails, id)
	}
}

// slot is get for Start and Remove: it makes the entry when there is none.
func (f *FreeBSD) slot(ctx context.Context, id string) (*bsdJail, error) {
	t, err := f.get(ctx, id)
	if err == nil {
		return t, nil
	}
	if ctx.Err() != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.jails[id]; t != nil {
		return t, nil
	}
	t = &bsdJail{}
	f.jails[id] = t
	return t, nil
}

// adopt finds out what became of a jail that another daemon started, and watches it when it runs. t.mu is held.
func (f *FreeBSD) adopt(ctx context.Context, t *bsdJail) error {
	r := t.rec
	if r.Exit != nil {
		return nil
	}
	j, err := f.ours(ctx, r)
	if err != nil {
		return err
	}
	if j != nil && r.Booted {
		f.watch(t, nil)
		return nil
	}
	pid, err := f.firstProcess(r, j)
	if err != nil {
		return err
	}
	if pid == 0 && r.PID == 0 && !r.Booted {
		return nil // half made: Created
	}
	if pid != 0 {
		wait, err := f.kern.watch(pid)
		if err != nil {
			return fmt.Errorf("watch process %d of jail %s: %w", pid, r.Spec.Name, err)
		}
		r.PID = pid
		f.cfg.Log.Info("jail adopted", "jail", r.Spec.Name, "id", r.Spec.ID, "pid", pid)
		f.watch(t, wait)
		return nil
	}
	r.Exit = &Exit{Code: -1, At: time.Now()}
	if err := r.save(f.dir(r.Spec.ID)); err != nil {
		f.cfg.Log.Warn("jail record not written", "jail", r.Spec.Name, "id", r.Spec.ID, "err", err)
	}
	return nil
}

// ours returns the kernel's jail of r, or nil when there is none or it is somebody else's.
func (f *FreeBSD) ours(ctx context.Context, r *record) (*kernelJail, error) {
	j, err := f.kernelJail(ctx, r.Jail)
	if err != nil || j == nil || j.uuid != r.Spec.UUID {
		return nil, err
	}
	return j, nil
}

// firstProcess is the pid of the jail's first process if it still runs, else 0. When the daemon died before it could note
// the pid, it is the oldest process of the jail.
func (f *FreeBSD) firstProcess(r *record, j *kernelJail) (int, error) {
	if j == nil {
		return 0, nil
	}
	all, err := f.kern.processes()
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	var oldest *jailProcess
	for i, p := range all {
		if p.jid != j.jid {
			continue
		}
		if p.pid == r.PID && (r.Ticks == 0 || p.started == r.Ticks) {
			return p.pid, nil
		}
		if oldest == nil || p.started < oldest.started || p.started == oldest.started && p.pid < oldest.pid {
			oldest = &all[i]
		}
	}
	if r.PID != 0 || oldest == nil {
		return 0, nil
	}
	r.Ticks = oldest.started
	return oldest.pid, nil
}

// List returns every jail of this StateDir.
func (f *FreeBSD) List(ctx context.Context) ([]Status, error) {
	entries, err := os.ReadDir(f.cfg.StateDir)
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
		t, err := f.get(ctx, e.Name())
		var tool *run.Error
		if errors.As(err, &tool) {
			return nil, fmt.Errorf("list jails: %w", err)
		}
		if err != nil { // unreadable or half made without a record: to be removed or started again
			if !errors.Is(err, ErrNotFound) {
				f.cfg.Log.Warn("jail record not readable", "id", e.Name(), "err", err)
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

func (t *bsdJail) status() (Status, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec == nil {
		return Status{}, false
	}
	return t.rec.status(), true
}
