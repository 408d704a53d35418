package mesh

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"regexp"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Options are what a Mesh is made from.
type Options struct {
	Instance string                // as netd.Options.Instance: it is in the name and the mark of the device
	HostNS   string                // path of the network namespace that plays the host; "" is that of this process
	Kind     string                // KindKernel or KindUserspace; "" takes the kernel's where there is one
	RunDir   string                // for files that only root may read, where a program must be told a key
	Runner   run.Runner            // nil is run.Real
	Metrics  prometheus.Registerer // nil: none
	Log      *slog.Logger          // nil: silent
}

// backend is one way to have a device. Its methods are called one at a time.
type backend interface {
	kind() string
	// open makes the device, or adopts the one that is there, with no more than its name and MTU.
	open(ctx context.Context, mtu int) error
	// alive reports whether the device that was opened is still there.
	alive() bool
	// apply changes keys, peers and addresses, and brings the device up.
	apply(ctx context.Context, c change, w Config) error
	peers(ctx context.Context) ([]PeerView, error)
	// remove takes the device away, whoever made it; none is success.
	remove(ctx context.Context) error
	// leave ends what is in this process.
	leave() error
}

// Mesh is the device of one host. Its methods may be called by several goroutines.
type Mesh struct {
	o    Options
	name string

	mu   sync.Mutex
	b    backend // guarded by mu; nil: not chosen yet
	open bool    // guarded by mu; there is a device
	have *Config // guarded by mu; what the device was told last; nil: unknown
	gone bool    // guarded by mu; it was seen to that there is no device
	m    *metrics
}

var instancePattern = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

// New makes nothing on the host yet.
func New(o Options) (*Mesh, error) {
	switch {
	case !instancePattern.MatchString(o.Instance):
		return nil, fmt.Errorf("instance %q is not 1 to 16 lower-case letters and digits", o.Instance)
	case o.Kind != "" && o.Kind != KindKernel && o.Kind != KindUserspace:
		return nil, fmt.Errorf("overlay %q: want kernel or userspace, or nothing for the best that this host has", o.Kind)
	}
	if o.Runner == nil {
		o.Runner = run.Real{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m := &Mesh{o: o, name: DeviceName(o.Instance)}
	var err error
	if m.m, err = newMetrics(o.Metrics, m); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

var hex8 = regexp.MustCompile(`^[0-9a-f]{8}$`)

// DeviceName is the interface of an instance: 11 characters that end in a digit, as those of netd (Linux allows 15, and
// pf takes names without a digit for groups).
func DeviceName(instance string) string {
	if hex8.MatchString(instance) {
		return "rw" + instance + "0"
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(instance))
	return fmt.Sprintf("rw%08x0", h.Sum32())
}

// Device is the name of this instance's interface, whether it is there or not.
func (m *Mesh) Device() string { return m.name }

// Set makes the device exactly c.
func (m *Mesh) Set(ctx context.Context, c Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(c.Peers) == 0 {
		return m.removeLocked(ctx)
	}
	if err := c.check(); err != nil {
		return err
	}
	if m.open && !m.b.alive() {
		m.o.Log.Warn("the overlay's device is gone, making it again", "device", m.name)
		if err := m.b.leave(); err != nil {
			return fmt.Errorf("overlay: %w", err)
		}
		m.open, m.have = false, nil
	}
	m.gone = false
	if !m.open {
		if err := m.openLocked(ctx, c.MTU); err != nil {
			return err
		}
	}
	ch := delta(m.have, c)
	if ch.empty() {
		return nil
	}
	if err := m.b.apply(ctx, ch, c); err != nil {
		m.have = nil // some of it may have been done
		m.m.failures.Inc()
		return fmt.Errorf("overlay: change %s: %w", m.name, err)
	}
	m.have = &c
	return nil
}

// openLocked makes the device, in the first of the ways that work here. m.mu is held.
func (m *Mesh) openLocked(ctx context.Context, mtu int) error {
	if m.b != nil {
		if err := m.b.open(ctx, mtu); err != nil {
			m.m.failures.Inc()
			return fmt.Errorf("overlay: make %s: %w", m.name, err)
		}
		m.open, m.have = true, nil
		return nil
	}
	var errs []error
	for _, b := range backends(m.o, m.name) {
		if m.o.Kind != "" && b.kind() != m.o.Kind {
			continue
		}
		err := b.open(ctx, mtu)
		if err == nil {
			m.o.Log.Info("the overlay has a device", "device", m.name, "kind", b.kind())
			m.b, m.open, m.have = b, true, nil
			return nil
		}
		m.o.Log.Debug("no overlay of this kind", "kind", b.kind(), "err", err)
		errs = append(errs, fmt.Errorf("%s: %w", b.kind(), err))
	}
	m.m.failures.Inc()
	return fmt.Errorf("overlay: make %s: %w", m.name, errors.Join(errs...))
}

// removeLocked takes the device away. m.mu is held.
func (m *Mesh) removeLocked(ctx context.Context) error {
	if m.gone {
		return nil
	}
	all := backends(m.o, m.name)
	if m.b != nil {
		all = []backend{m.b}
	}
	for _, b := range all { // without a choice: what a daemon before this one may have left
		if err := b.remove(ctx); err != nil {
			return fmt.Errorf("overlay: remove %s: %w", m.name, err)
		}
	}
	m.open, m.have, m.gone = false, nil, true
	return nil
}

// Show returns the device as it is.
func (m *Mesh) Show(ctx context.Context) (View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.open {
		return View{Device: m.name}, nil
	}
	v := View{Kind: m.b.kind(), Device: m.name}
	if m.have != nil {
		v.Public = m.have.Private.Public()
	}
	var err error
	if v.Peers, err = m.b.peers(ctx); err != nil {
		return v, fmt.Errorf("overlay: look at %s: %w", m.name, err)
	}
	return v, nil
}

// Kind is what the device is, "" as long as there is none.
func (m *Mesh) Kind() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.open {
		return ""
	}
	return m.b.kind()
}

// Alive reports whether what the last Set made is still there: an interface can be deleted by anybody who is root.
func (m *Mesh) Alive() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.open || m.b.alive()
}

// Remove takes the device away.
func (m *Mesh) Remove(ctx context.Context) error { return m.Set(ctx, Config{}) }

// Close ends what is in this process: a device of the kernel stays.
func (m *Mesh) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.open {
		return nil
	}
	m.open, m.have = false, nil
	return m.b.leave()
}
