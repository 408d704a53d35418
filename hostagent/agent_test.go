package hostagent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// fakeLog is the cluster without raft: one slice of entries, applied at once.
type fakeLog struct {
	mu      sync.Mutex
	stage   *stage.Stage
	changed chan struct{}
}

func newFakeLog() *fakeLog {
	return &fakeLog{stage: stage.New(), changed: make(chan struct{})}
}

func (l *fakeLog) State() *fsm.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stage.S
}

func (l *fakeLog) Watch() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *fakeLog) Propose(ctx context.Context, _ string, cmd fsm.Command) (fsm.Applied, error) {
	if err := ctx.Err(); err != nil {
		return fsm.Applied{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.stage.Do(cmd)
	close(l.changed)
	l.changed = make(chan struct{})
	return fsm.Applied{Index: l.stage.S.Index}, err
}

func (l *fakeLog) Wait(ctx context.Context, ok func(*fsm.State) bool) (*fsm.State, error) {
	for {
		changed := l.Watch()
		if s := l.State(); ok(s) {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return l.State(), ctx.Err()
		}
	}
}

// world is a host that outlives its agents.
type world struct {
	agent *Agent // the latest

	carrier  Carrier
	volumes  []zfssync.VolumeID // that the storage has; the simulated one keeps none
	stubborn bool               // jails do not end for TERM
	t        *testing.T
	log      *fakeLog
	jails    *jail.Sim
	nets     *netd.Sim
	store    *zfssync.Sim
	dir      string
	step     atomic.Int64 // calls to drivers so far
	kill     atomic.Int64 // the call after which the agent is killed; 0: never
	stop     context.CancelFunc
}

func newWorld(t *testing.T, script func(jail.Spec, int) jail.SimRun) *world {
	w := &world{t: t, log: newFakeLog(), jails: jail.NewSim(jail.SimConfig{Script: script}), store: zfssync.NewSim(), dir: t.TempDir()}
	w.nets = &netd.Sim{}
	return w
}

// killing counts a call to a driver and kills the agent when it is its turn:
// from then on nothing of it reaches anybody.
func (w *world) killing() {
	if n := w.step.Add(1); n == w.kill.Load() {
		w.stop()
	}
}

// The drivers as the agent sees them: each call may be its last.
type killJails struct {
	jail.Driver
	w *world
}

func (k killJails) Start(ctx context.Context, s jail.Spec) (jail.Status, error) {
	st, err := k.Driver.Start(ctx, s)
	k.w.killing()
	return st, errors.Join(err, ctx.Err())
}

func (k killJails) Stop(ctx context.Context, id string, d time.Duration) (jail.Status, error) {
	if k.w.stubborn && d == 0 { // it does not end for TERM, and has all the time of the world
		<-ctx.Done()
		return jail.Status{}, ctx.Err()
	}
	st, err := k.Driver.Stop(ctx, id, d)
	k.w.killing()
	return st, errors.Join(err, ctx.Err())
}

func (k killJails) Remove(ctx context.Context, id string) error {
	err := k.Driver.Remove(ctx, id)
	k.w.killing()
	return errors.Join(err, ctx.Err())
}

type killNets struct {
	netd.Driver
	w *world
}

func (k killNets) Attach(ctx context.Context, c netd.NSConfig) (string, error) {
	p, err := k.Driver.Attach(ctx, c)
	k.w.killing()
	return p, errors.Join(err, ctx.Err())
}

func (k killNets) Detach(ctx context.Context, id string) error {
	err := k.Driver.Detach(ctx, id)
	k.w.killing()
	return errors.Join(err, ctx.Err())
}

type killStore struct {
	zfssync.Store
	w *world
}

func (k killStore) Clone(ctx context.Context, image, uuid string, o zfssync.CloneOptions) (string, error) {
	p, err := k.Store.Clone(ctx, image, uuid, o)
	k.w.killing()
	return p, errors.Join(err, ctx.Err())
}

func (k killStore) Destroy(ctx context.Context, uuid string) error {
	err := k.Store.Destroy(ctx, uuid)
	k.w.killing()
	return errors.Join(err, ctx.Err())
}

func (k killStore) List(ctx context.Context) (zfssync.Listing, error) {
	l, err := k.Store.List(ctx)
	l.Volumes = append(l.Volumes, k.w.volumes...)
	return l, err
}

func (k killStore) DestroyVolume(_ context.Context, id zfssync.VolumeID) error {
	k.w.t.Errorf("volume %s is destroyed", id)
	return nil
}

// live starts an agent and returns a function that waits for its end.
func (w *world) live() (end func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.stop = cancel
	a, err := New(ctx, Config{
		Host: "h1", Name: "host1", Dir: w.dir, RunDir: w.dir, LogDir: w.dir, Version: "test", Cluster: w.log,
		Jails: killJails{w.jails, w}, Nets: killNets{w.nets, w}, Store: killStore{w.store, w},
		Carrier: w.carrier, Runtime: "sim", Clock: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.agent = a
	done := make(chan error, 1)
	go func() { done <- errors.Join(a.Run(ctx), a.Close()) }()
	return func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Error(err)
		}
	}
}

func (w *world) propose(cmd fsm.Command) {
	w.t.Helper()
	if _, err := w.log.Propose(w.t.Context(), "test", cmd); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) await(what string, ok func(*fsm.State) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	if s, err := w.log.Wait(ctx, ok); err != nil {
		r, _ := s.Runs.Get("web")
		w.t.Fatalf("%s: not within 20 s; the run is %+v", what, r)
	}
}

func (w *world) declare() {
	w.t.Helper()
	wish, err := stage.ParseWish("demo", "web image=base")
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range wish.Jails {
		wish.Jails[i].Command = []string{"/bin/web"}
	}
	w.propose(fsm.ApplyWish{Wish: wish})
}

func healthy(seq uint64) func(*fsm.State) bool {
	return func(s *fsm.State) bool {
		r, ok := s.Runs.Get("web")
		return ok && r.Seq == seq && r.Phase == fsm.Running && r.Health == fsm.HealthHealthy
	}
}

func (w *world) left() string {
	ctx := w.t.Context()
	jails, err1 := w.jails.List(ctx)
	nets, err2 := w.nets.List(ctx)
	stored, err3 := w.store.List(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		w.t.Fatal(err)
	}
	if len(jails)+len(nets)+len(stored.Clones) == 0 {
		return ""
	}
	return fmt.Sprintf("%d jails, %d namespaces, %d clones", len(jails), len(nets), len(stored.Clones))
}

func (w *world) host() {
	w.propose(fsm.RegisterHost{Host: fsm.Host{ID: "h1", Name: "host1", Role: "server", State: fsm.HostAlive, OS: "linux", Arch: "amd64", Runtime: "sim", Version: "1"}})
}

func TestAPlacedJailIsMadeReportedStoppedAndForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.host()
	w.declare()
	end := w.live()
	defer end()
	w.propose(fsm.PlaceJail{Jail: "web", Host: "h1", Seq: 1, Why: "test"})
	w.await("healthy", healthy(1))
	w.propose(fsm.WantJail{Jail: "web", Want: fsm.WantStopped})
	w.await("stopped", func(s *fsm.State) bool { r, _ := s.Runs.Get("web"); return r != nil && r.Phase == fsm.Stopped })
	w.propose(fsm.DestroyWish{Name: "demo"})
	w.empty()
}

// empty waits until nothing of any jail is left on the host.
func (w *world) empty() {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for w.left() != "" {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("left on the host: %s", w.left())
		}
	}
}

// A killed agent's successor makes the same of it, wherever the kill came:
// after every single call to a driver on the way up and on the way down.
func TestCase55AgentKilledAfterAnyCallConverges(t *testing.T) {
	t.Parallel()
	for kill := int64(1); kill <= 9; kill++ {
		t.Run(fmt.Sprint("call ", kill), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.host()
			w.declare()
			w.propose(fsm.PlaceJail{Jail: "web", Host: "h1", Seq: 1, Why: "test"})
			w.kill.Store(kill)
			end := w.live()
			if kill > 3 { // on the way down
				w.await("healthy", healthy(1))
				w.propose(fsm.DestroyWish{Name: "demo"})
			}
			deadline := time.After(10 * time.Second)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for w.step.Load() < kill && w.left() != "" {
				select {
				case <-tick.C:
					continue
				case <-deadline:
				}
				break
			}
			end()
			w.kill.Store(0)
			end = w.live()
			defer end()
			if kill <= 3 {
				w.await("healthy after the kill", healthy(1))
				w.propose(fsm.DestroyWish{Name: "demo"})
			}
			w.empty()
			if s := w.log.State(); s.Jails.Len() != 0 || s.ByHost.Len() != 0 {
				t.Errorf("%d jails and %d runs are left in the cluster", s.Jails.Len(), s.ByHost.Len())
			}
		})
	}
}

func TestARunningJailIsAdoptedWithoutARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.host()
	w.declare()
	w.propose(fsm.PlaceJail{Jail: "web", Host: "h1", Seq: 1, Why: "test"})
	end := w.live()
	w.await("healthy", healthy(1))
	before, err := w.jails.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end()
	end = w.live()
	defer end()
	w.propose(fsm.WantJail{Jail: "web", Want: fsm.WantRunning})
	w.await("healthy", healthy(1))
	after, err := w.jails.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != 1 || len(after) != 1 || before[0].PID != after[0].PID {
		t.Errorf("before %+v, after %+v: want one jail with the same pid", before, after)
	}
}

func TestAFailingStartIsReportedWithItsReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(jail.Spec, int) jail.SimRun { return jail.SimRun{Err: errors.New("no such command: /bin/web")} })
	w.host()
	w.declare()
	end := w.live()
	defer end()
	w.propose(fsm.PlaceJail{Jail: "web", Host: "h1", Seq: 1, Why: "test"})
	w.await("failed", func(s *fsm.State) bool {
		r, _ := s.Runs.Get("web")
		return r != nil && r.Phase == fsm.Failed && r.Reason == "start jail web: start jail web: no such command: /bin/web"
	})
}

func TestAnExitIsReportedWithItsCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(jail.Spec, int) jail.SimRun { return jail.SimRun{Exit: &jail.Exit{Known: true, Code: 3}} })
	w.host()
	w.declare()
	end := w.live()
	defer end()
	w.propose(fsm.PlaceJail{Jail: "web", Host: "h1", Seq: 1, Why: "test"})
	w.await("failed", func(s *fsm.State) bool {
		r, _ := s.Runs.Get("web")
		return r != nil && r.Phase == fsm.Failed && r.Exit != nil && r.Exit.Code == 3
	})
}

func TestCheckNamesWhatStandsInTheWayAndChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.host()
	a, err := New(t.Context(), Config{Host: "h1", Dir: w.dir, RunDir: w.dir, LogDir: w.dir, Cluster: w.log, Jails: w.jails, Nets: w.nets,
		Store: w.store, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close() //nolint:errcheck // the test is over
	wish, err := stage.ParseWish("demo", "web image=base\nother net=second image=base")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Check(t.Context(), &wish); err != nil {
		t.Errorf("a good wish: %v", err)
	}
	wish.Networks[1].Subnet = wish.Networks[0].Subnet
	if refusal := (*fsm.Refusal)(nil); !errors.As(a.Check(t.Context(), &wish), &refusal) {
		t.Error("two networks of one subnet were not refused")
	}
}

func TestSettledWaitsUntilTheNetworksOfAnIndexAreMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.host()
	end := w.live()
	defer end()
	w.declare()
	at := w.log.State().Index
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.agent.Settled(ctx, at); err != nil {
		t.Error(err)
	}
	for name := range w.log.State().Networks.All {
		if _, err := w.nets.Show(ctx, name); err != nil {
			t.Errorf("network %s is called settled: %v", name, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := w.agent.Settled(short, at+1000); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an index that is not there yet: %v", err)
	}
}

// Another one of it may start soon: a jail that is being stopped in its own
// time, which may be long, is then given no more of it.
func TestAStopIsHurriedOnceTheRunIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.stubborn = true
	w.host()
	w.declare()
	end := w.live()
	defer end()
	w.propose(fsm.PlaceJail{Jail: "web", Host: "h1", Seq: 1, Why: "test"})
	w.await("healthy", healthy(1))
	w.propose(fsm.WantJail{Jail: "web", Want: fsm.WantStopped})
	w.propose(fsm.StopRun{Jail: "web", Seq: 1, Why: "test"})
	w.await("stopping", func(s *fsm.State) bool { r, _ := s.Runs.Get("web"); return r != nil && r.Phase >= fsm.Stopping })
	w.propose(fsm.MarkHost{Host: "h1", State: fsm.HostLost, Why: "test"})
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if jails, err := w.jails.List(t.Context()); err != nil || len(jails) == 0 || jails[0].Phase != jail.Running {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it still runs")
		}
	}
}
