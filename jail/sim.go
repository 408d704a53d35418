package jail

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// SimConfig configures NewSim. The zero value simulates jails that start at once and run until they are stopped.
type SimConfig struct {
	// Latency is how long a Start takes. It is waited for on After.
	Latency time.Duration

	// Now and After are the clock; nil is the real one.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time

	// Script decides about each Start; nil: everything runs. It sees how many starts of this Name came before (0 at first).
	Script func(s Spec, before int) SimRun

	// OnExec answers Exec; nil: a line that says that nothing ran, and exit code 126.
	OnExec func(id string, x Exec) (int, error)
}

// SimRun is what a Script wants of one Start.
type SimRun struct {
	Err   error         // Start fails with it
	After time.Duration // the jail ends by itself so long after its start; 0: never, unless Exit is given: at once
	Exit  *Exit         // how; nil with After: Known, code 0
}

// Sim is a Driver that starts nothing: for `-runtime=sim` on any system, and for tests. Two Sims share nothing; a Sim that
// goes on while its user is replaced by another is a host whose daemon restarts.
type Sim struct {
	cfg SimConfig

	mu     sync.Mutex
	jails  map[string]*simJail // guarded by mu
	starts map[string]int      // by Name; guarded by mu
	calls  []string            // guarded by mu
	pid    int                 // guarded by mu
}

type simJail struct {
	spec Spec
	st   Status
	done chan struct{} // closed when it has ended
}

// NewSim returns a driver without any jail.
func NewSim(cfg SimConfig) *Sim {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.After == nil {
		cfg.After = time.After
	}
	return &Sim{cfg: cfg, jails: map[string]*simJail{}, starts: map[string]int{}, pid: 1000}
}

// Probe says that all is simulated.
func (d *Sim) Probe(context.Context) (Features, error) {
	return Features{
		Driver: "sim", Runtime: "simulated", Simulated: true, UserNS: true, ExitInfo: true,
		Notes: []string{"jails are simulated: no process is started and no limit applies"},
	}, nil
}

// Start notes that the jail runs, when Latency has passed.
func (d *Sim) Start(ctx context.Context, s Spec) (Status, error) {
	if err := s.check(); err != nil {
		return Status{}, fmt.Errorf("start jail %s: %w", s.Name, err)
	}
	d.mu.Lock()
	d.calls = append(d.calls, "start "+s.ID)
	if j := d.jails[s.ID]; j != nil && j.st.Phase == Running {
		defer d.mu.Unlock()
		return j.st, nil
	}
	var todo SimRun
	if d.cfg.Script != nil {
		todo = d.cfg.Script(s, d.starts[s.Name])
	}
	d.starts[s.Name]++
	d.mu.Unlock()

	if d.cfg.Latency > 0 {
		select {
		case <-d.cfg.After(d.cfg.Latency):
		case <-ctx.Done():
			return Status{}, fmt.Errorf("start jail %s: %w", s.Name, ctx.Err())
		}
	}
	if todo.Err != nil {
		return Status{}, fmt.Errorf("start jail %s: %w", s.Name, todo.Err)
	}
	return d.begin(s, todo), nil
}

func (d *Sim) begin(s Spec, todo SimRun) Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.jails[s.ID]; j != nil && j.st.Phase == Running { // another Start was faster
		return j.st
	}
	d.pid++
	j := &simJail{spec: s, done: make(chan struct{})}
	j.st = Status{ID: s.ID, Name: s.Name, UUID: s.UUID, Seq: s.Seq, PID: d.pid, Phase: Running, StartedAt: d.cfg.Now()}
	d.jails[s.ID] = j
	started := j.st
	switch {
	case todo.After > 0:
		exit := Exit{Known: true}
		if todo.Exit != nil {
			exit = *todo.Exit
		}
		go func() { // owned by the jail: ends with it
			select {
			case <-d.cfg.After(todo.After):
				d.mu.Lock()
				defer d.mu.Unlock()
				d.end(j, exit)
			case <-j.done:
			}
		}()
	case todo.Exit != nil:
		d.end(j, *todo.Exit)
	}
	return started
}

// end is called with mu held.
func (d *Sim) end(j *simJail, exit Exit) {
	if j.st.Phase != Running {
		return
	}
	if exit.At.IsZero() {
		exit.At = d.cfg.Now()
	}
	j.st.Phase, j.st.PID, j.st.Exit = Stopped, 0, &exit
	close(j.done)
}

// Crash ends a running jail as if by itself: for tests and what-if. ErrNotRunning when there is none.
func (d *Sim) Crash(id string, exit Exit) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.jails[id]
	if j == nil || j.st.Phase != Running {
		return fmt.Errorf("crash jail %s: %w", id, ErrNotRunning)
	}
	d.end(j, exit)
	return nil
}

// Stop ends the jail at once, by SIGTERM as it were.
func (d *Sim) Stop(_ context.Context, id string, _ time.Duration) (Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, "stop "+id)
	j := d.jails[id]
	if j == nil {
		return Status{ID: id, Phase: Stopped, Exit: &Exit{Code: -1}}, nil
	}
	d.end(j, Exit{Known: true, Code: 143, Signal: "SIGTERM"})
	return j.st, nil
}

// Remove forgets the jail.
func (d *Sim) Remove(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, "remove "+id)
	if j := d.jails[id]; j != nil {
		d.end(j, Exit{Known: true, Code: 137, Signal: "SIGKILL"})
		delete(d.jails, id)
	}
	return nil
}

// Update changes the limits of the noted Spec.
func (d *Sim) Update(_ context.Context, id string, l Limits) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, "update "+id)
	j := d.jails[id]
	if j == nil {
		return fmt.Errorf("update jail %s: %w", id, ErrNotFound)
	}
	j.spec.Limits = l
	return nil
}

// List returns all jails, sorted by ID.
func (d *Sim) List(context.Context) ([]Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Status, 0, len(d.jails))
	for _, j := range d.jails {
		out = append(out, j.st)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// Wait returns when the jail has ended.
func (d *Sim) Wait(ctx context.Context, id string) (Status, error) {
	d.mu.Lock()
	j := d.jails[id]
	d.mu.Unlock()
	if j == nil {
		return Status{}, fmt.Errorf("wait for jail %s: %w", id, ErrNotFound)
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		return Status{}, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return j.st, nil
}

// Exec says that nothing was run.
func (d *Sim) Exec(_ context.Context, id string, x Exec) (int, error) {
	d.mu.Lock()
	d.calls = append(d.calls, "exec "+id+" "+strings.Join(x.Argv, " "))
	j := d.jails[id]
	running := j != nil && j.st.Phase == Running
	d.mu.Unlock()
	switch {
	case j == nil:
		return -1, fmt.Errorf("exec in jail %s: %w", id, ErrNotFound)
	case !running:
		return -1, fmt.Errorf("exec in jail %s: %w", id, ErrNotRunning)
	case d.cfg.OnExec != nil:
		return d.cfg.OnExec(id, x)
	}
	w := x.Stderr
	if x.TTY || w == nil {
		w = orDiscard(x.Stdout)
	}
	if _, err := io.WriteString(w, "rexcarcer: jail "+j.st.Name+" is simulated, nothing was run\n"); err != nil {
		return -1, fmt.Errorf("exec in jail %s: %w", id, err)
	}
	return codeNotExecutable, nil
}

// Stats of a simulated jail are zero, but for one process.
func (d *Sim) Stats(_ context.Context, id string) (Stats, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.jails[id]
	if j == nil {
		return Stats{}, fmt.Errorf("stats of jail %s: %w", id, ErrNotFound)
	}
	if j.st.Phase != Running {
		return Stats{}, nil
	}
	return Stats{PIDs: 1}, nil
}

// Spec returns the Spec of a jail as it was started or updated, for tests.
func (d *Sim) Spec(id string) (Spec, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.jails[id]
	if j == nil {
		return Spec{}, false
	}
	return j.spec, true
}

// Calls returns what was asked for so far ("start rex-1", "exec rex-1 true"), for tests. Start counts when it begins.
func (d *Sim) Calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

// Close ends every jail: a simulated host that is switched off.
func (d *Sim) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jails {
		d.end(j, Exit{Code: -1})
	}
	return nil
}

var (
	_ Driver = (*Sim)(nil)
	_ Driver = (*Linux)(nil)
)
