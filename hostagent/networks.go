package hostagent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/spec"
)

// networks keeps bridges, routers and rules of this host as State wants them.
type networks struct {
	a       *Agent
	last    netd.Config        // what Set was last called with; owned by run
	routers map[string]*router // owned by run
	proxies *proxies           // owned by run
	uplinks *uplinks           // owned by run
	swept   bool               // routers of networks that are gone were looked for; owned by run
	wakeup  chan struct{}
	build   *slots
	overlay *overlay

	mu      sync.Mutex
	ready   map[string]error // guarded by mu; by network: nil when it is made
	index   uint64           // guarded by mu; of the State that the last pass was made for
	changed chan struct{}    // guarded by mu; closed when ready or index changes
}

func newNetworks(a *Agent) (*networks, error) {
	o, err := newOverlay(a)
	return &networks{a: a, wakeup: make(chan struct{}, 1), proxies: &proxies{a: a, open: map[string]*openProxy{}}, uplinks: &uplinks{a: a, open: map[string]*router{}}, build: newSlots(a.c.Dir, a.c.Runtime), overlay: o,
		routers: map[string]*router{}, ready: map[string]error{}, changed: make(chan struct{})}, err
}

// Check says what on this host stands in the way of the networks that w
// declares: a published port that is taken, a subnet that the host uses.
// Nothing is changed. The error is a *fsm.Refusal.
func (a *Agent) Check(ctx context.Context, w *spec.Wish) error {
	s := a.c.Cluster.State()
	if err := a.checkBinds(s, w); err != nil {
		return err
	}
	var c netd.Config
	for i, n := range w.Networks {
		out := netd.Network{Name: n.Name, ID: fmt.Sprintf("%08x", i), Subnet: n.Subnet, Subnet6: n.Subnet6}
		if known, ok := s.Networks.Get(n.Name); ok {
			out.ID = known.ID
		}
		for _, p := range n.Publish {
			if err := a.canServe(p); err != nil {
				return &fsm.Refusal{Code: fsm.CodeInvalid, Object: "host " + a.c.Name, Text: fmt.Sprintf("network %s: publish %s: %v", n.Name, p.Name, err)}
			}
			out.Publish = append(out.Publish, netd.Publish{HostPort: p.Port, Proto: p.Proto, Shared: p.Shared})
		}
		c.Networks = append(c.Networks, out)
	}
	if err := a.c.Nets.Check(ctx, c); err != nil {
		return &fsm.Refusal{Code: fsm.CodeInvalid, Object: "host " + a.c.Name, Text: err.Error()}
	}
	return nil
}

// run follows State until ctx ends.
func (n *networks) run(ctx context.Context) {
	defer n.wait()
	defer n.proxies.wait()
	defer n.uplinks.wait()
	retry := backoff{first: 500 * time.Millisecond, limit: 30 * time.Second}
	for {
		var again <-chan time.Time
		s := n.a.c.Cluster.State()
		want := n.want(s)
		made, err := n.pass(ctx, want)
		wait, err2 := n.overlay.pass(ctx, s, made)
		drain, err3 := n.a.c.Nets.Drain(ctx, n.a.c.Clock())
		served, err4 := n.proxies.pass(ctx, want, n.a.c.Clock())
		err5 := n.uplinks.pass(ctx, want)
		if wait = soonest(wait, soonest(drain, served)); wait > 0 {
			again = time.After(wait)
		}
		err = errors.Join(err, err2, err3, err4, err5)
		n.settle(s.Index)
		if err != nil && ctx.Err() == nil {
			n.a.c.Log.Warn("networks are not as wanted, trying again", "err", err)
			n.a.metrics.failures.WithLabelValues("networks").Inc()
			again = time.After(retry.next())
		} else {
			retry.reset()
		}
		select {
		case <-n.wakeup:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// soonest is the shorter of two waits; 0 is none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

func (n *networks) want(s *fsm.State) netd.Config {
	c := NetworksOf(s)
	carry(s, n.a.c.Host, n.overlay.conf, &c)
	n.a.inetOf(&c)
	if subnet, ever := n.build.wanted(); ever {
		c.Networks = append(c.Networks, buildNet(n.a.c.Dir, subnet))
	}
	return c
}

// pass makes the networks; made says that it was not so already.
func (n *networks) pass(ctx context.Context, want netd.Config) (made bool, err error) {
	if n.last.Networks != nil && reflect.DeepEqual(want, n.last) {
		return false, nil
	}
	n.retire(want)
	err = n.a.c.Nets.Set(ctx, want)
	if ctx.Err() != nil {
		return true, ctx.Err()
	}
	failed := failures(err)
	for _, net := range want.Networks {
		if failed[net.Name] == nil && net.Name != buildNetwork {
			failed[net.Name] = n.ensureRouter(ctx, net)
		}
	}
	n.dropRouters(want)
	n.publish(want, failed)
	n.last = want
	all := errors.Join(err, n.sweepRouters(ctx, want))
	for _, net := range want.Networks {
		all = errors.Join(all, failed[net.Name])
	}
	if all != nil {
		n.last = netd.Config{}
	}
	return true, all
}

// failures sorts what Set could not do by network.
func failures(err error) map[string]error {
	out := map[string]error{}
	var walk func(error)
	walk = func(e error) {
		switch x := e.(type) { //nolint:errorlint // the tree is walked by hand
		case nil:
		case *netd.NetworkError:
			out[x.Network] = x
		case *netd.OverlapError:
			out[x.Network] = x
		case *netd.PortTakenError, *netd.InetError:
			// The network works but for this port, or goes by the host.
		case interface{ Unwrap() []error }:
			for _, u := range x.Unwrap() {
				walk(u)
			}
		case interface{ Unwrap() error }:
			walk(x.Unwrap())
		}
	}
	walk(err)
	return out
}

func (n *networks) publish(want netd.Config, failed map[string]error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = map[string]error{}
	for _, net := range want.Networks {
		n.ready[net.Name] = failed[net.Name]
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// settle notes that a pass for the State of that index was made.
func (n *networks) settle(index uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.index = index
	close(n.changed)
	n.changed = make(chan struct{})
}

// Settled waits until this host's networks, published ports among them, were
// brought to what the log said at index, as far as they can be: what cannot be
// is in the log of the daemon and is tried again.
func (a *Agent) Settled(ctx context.Context, index uint64) error {
	for {
		a.networks.mu.Lock()
		at, changed := a.networks.index, a.networks.changed
		a.networks.mu.Unlock()
		if at >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the networks of this host are at index %d, not at %d yet: %w", at, index, ctx.Err())
		}
	}
}

// retire takes back the word that a network is made which is about to go: one
// of the same name that is declared right after it is another bridge.
func (n *networks) retire(want netd.Config) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range n.ready {
		if !slices.ContainsFunc(want.Networks, func(w netd.Network) bool { return w.Name == name }) {
			delete(n.ready, name)
		}
	}
}

// await returns once all of names are made on this host, or the error that
// stands in the way of one.
func (n *networks) await(ctx context.Context, names []string) error {
	for {
		n.mu.Lock()
		changed, missing := n.changed, ""
		for _, name := range names {
			err, known := n.ready[name]
			if err != nil {
				n.mu.Unlock()
				return err
			}
			if !known {
				missing = name
			}
		}
		n.mu.Unlock()
		if missing == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("network %s is not made on this host yet: %w", missing, ctx.Err())
		}
	}
}
