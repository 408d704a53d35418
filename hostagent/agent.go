package hostagent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent/build"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

// Log is what the agent needs of package cluster.
type Log interface {
	State() *fsm.State
	Watch() <-chan struct{}
	Wait(ctx context.Context, ok func(*fsm.State) bool) (*fsm.State, error)
	Propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error)
}

// Config of an Agent. All fields but Reg, Router and Random are required.
type Config struct {
	Host    fsm.HostID
	Name    string // of the host
	Dir     string // data directory: host.db, keys/
	RunDir  string // sockets of networks
	LogDir  string // output of jails
	Labels  map[string]string
	Version string
	Peer    string // HOST:PORT of the cluster port; "": none
	Gossip  string // HOST:PORT of the gossip port; "": none

	Cluster Log
	Jails   jail.Driver
	Nets    netd.Driver
	Store   zfssync.Store

	// Fetch brings an image that is not here from other hosts, or says why it
	// cannot. nil: there are none.
	Fetch func(ctx context.Context, key string) (Fetched, error)
	// Carrier brings volumes that move here. nil: storage is simulated.
	Carrier Carrier

	Overlay   *OverlayConfig // nil: networks end at this host
	Router    *RouterConfig  // nil: networks have no router process (simulated runtime)
	Resolvers []netip.AddrPort
	InetNIC   string // on which routers of networks with NAT have an address of their own, by DHCP; "": they go by this host

	// BindAllow are the directories of this host that jails may have, with all
	// below them; empty: none.
	BindAllow []string

	BuildLimits  jail.Limits   // of RUN steps
	BuildTimeout time.Duration // of one step of an image; 0: an hour
	BuildMinFree int64         // bytes that a build leaves free; 0: it may fill the disk

	// Contact is when a leader was last heard; nil: this host is the cluster.
	// After FenceAfter without one, jails that may start elsewhere are stopped.
	Contact    func() time.Time
	FenceAfter time.Duration

	Runtime string // linux, jail, sim
	Clock   func() time.Time
	Random  io.Reader
	Log     *slog.Logger
	Reg     prometheus.Registerer
}

// Agent makes this host so. Make it with New, run it with Run.
type Agent struct {
	c       Config
	db      *hostDB
	builder *build.Builder
	sources *source.Sources
	metrics *metrics

	untidy bool // a sweep of the storage is to be repeated; written by adopt, before Run reads it

	swept chan struct{} // closed when what builds of an earlier life left is gone

	features jail.Features
	idmap    bool // each jail gets a user namespace with ids of its own

	networks *networks
	fenced   atomic.Bool // no leader was heard for FenceAfter

	mu      sync.Mutex
	workers map[string]*worker // guarded by mu; by jail uuid
	wg      sync.WaitGroup     // workers
	adopted bool               // guarded by mu; what an earlier life left has its workers
}

// New opens host.db and asks the drivers what they can do here.
func New(ctx context.Context, c Config) (*Agent, error) {
	if err := makeDirs(c.Dir, c.RunDir, c.LogDir, filepath.Join(c.Dir, "keys")); err != nil {
		return nil, err
	}
	a := &Agent{c: c, workers: map[string]*worker{}, swept: make(chan struct{}), metrics: newMetrics(c.Reg)}
	var err error
	if a.features, err = c.Jails.Probe(ctx); err != nil {
		return nil, fmt.Errorf("jails cannot run on this host: %w", err)
	}
	if err := c.Nets.Probe(ctx); err != nil {
		return nil, fmt.Errorf("networks cannot be made on this host: %w", err)
	}
	a.idmap = a.features.UserNS && c.Store.Features().IDMap
	if a.db, err = openHostDB(c.Dir); err != nil {
		return nil, err
	}
	if a.networks, err = newNetworks(a); err != nil {
		return nil, errors.Join(err, a.db.close())
	}
	a.sources = a.newSources()
	a.builder = a.newBuilder()
	return a, nil
}

// Close closes host.db. Run must have returned.
func (a *Agent) Close() error { return a.db.close() }

// Run registers the host, adopts what a predecessor left, and then follows
// State until ctx ends. Jails go on.
func (a *Agent) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { a.fence(ctx) })
	if err := a.register(ctx); err != nil {
		return err
	}
	if err := a.adopt(ctx); err != nil {
		return err
	}
	defer a.wg.Wait()
	defer cancel()
	if a.untidy {
		wg.Go(func() { a.tidy(ctx) })
	}
	wg.Go(func() { a.networks.run(ctx) })
	wg.Go(func() { a.networks.overlay.run(ctx) })
	wg.Go(func() { a.rotate(ctx) })
	wg.Go(func() { a.copies(ctx) })
	wg.Go(func() { a.moves(ctx) })
	for {
		changed := a.c.Cluster.Watch()
		s := a.c.Cluster.State()
		poke(a.networks.wakeup)
		poke(a.networks.overlay.wakeup)
		a.dispatch(ctx, s)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// dispatch makes sure that each jail with a Run here has a worker, and wakes
// those whose want may have changed.
func (a *Agent) dispatch(ctx context.Context, s *fsm.State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range s.ByHost.Prefix(string(a.c.Host) + "/") {
		j, ok := s.Jails.Get(string(r.Jail))
		if !ok {
			continue
		}
		if a.workers[j.UUID] == nil {
			a.startWorker(ctx, row{UUID: j.UUID, Name: r.Jail, Wish: j.Wish}, nil)
		}
	}
	for _, w := range a.workers {
		w.wake(s)
	}
}

// startWorker runs the worker of one jail; a.mu is held.
func (a *Agent) startWorker(ctx context.Context, r row, alive *jail.Status) {
	w := newWorker(a, r, alive)
	a.workers[r.UUID] = w
	a.wg.Go(func() {
		w.run(ctx)
		if w.forgotten {
			a.mu.Lock()
			delete(a.workers, r.UUID)
			a.mu.Unlock()
		}
	})
}

// propose sends a Command as this host. A refusal is final, anything else is
// tried again until ctx ends: the cluster may have no leader for a while.
func (a *Agent) propose(ctx context.Context, cmd fsm.Command) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		_, err := a.c.Cluster.Propose(ctx, "host/"+string(a.c.Host), cmd)
		if refusal := (*fsm.Refusal)(nil); err == nil || errors.As(err, &refusal) || ctx.Err() != nil {
			return err
		}
		a.c.Log.Warn("proposal failed, trying again", "kind", cmd.Kind(), "err", err)
		if !sleep(ctx, wait) {
			return err
		}
	}
}

// jailID is the driver's id of a jail.
func jailID(uuid string) string { return "rex-" + uuid }

// shortID is the 8 hex digits that interface names are made from.
func shortID(uuid string) string { return uuid[:8] }

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// poke leaves a wake-up in a channel of size 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
