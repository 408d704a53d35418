package netd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Sim is a Driver that only remembers, for -runtime=sim and for tests. The zero value is ready.
type Sim struct {
	// Fail, if not nil, is asked before each call ("set", "attach", "detach", "sweep", "teardown", "probe") with the
	// jail's id or ""; its error is returned and nothing is changed. Set it before the first call.
	Fail func(op, id string) error

	mu    sync.Mutex
	nets  map[string]Network  // guarded by mu; by name
	jails map[string]NSConfig // guarded by mu; by id
	calls []string            // guarded by mu
}

var _ Driver = (*Sim)(nil)

func (s *Sim) begin(ctx context.Context, op, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Fail != nil {
		if err := s.Fail(op, id); err != nil {
			return fmt.Errorf("%s %s: %w", op, id, err)
		}
	}
	if s.nets == nil {
		s.nets, s.jails = map[string]Network{}, map[string]NSConfig{}
	}
	call := op
	if id != "" {
		call += " " + id
	}
	s.calls = append(s.calls, call)
	return nil
}

// Probe always succeeds, unless Fail says otherwise.
func (s *Sim) Probe(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin(ctx, "probe", "")
}

// Set remembers c.
func (s *Sim) Set(ctx context.Context, c Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(ctx, "set", ""); err != nil {
		return err
	}
	nets, errs := c.normalize()
	clear(s.nets)
	for _, n := range nets {
		s.nets[n.Name] = n
	}
	return errors.Join(errs...)
}

// Reach remembers nothing: simulated jails send no packets.
func (s *Sim) Reach(ctx context.Context, _ []Remote) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin(ctx, "reach", "")
}

// Drain has nothing to cut.
func (s *Sim) Drain(context.Context, time.Time) (time.Duration, error) { return 0, nil }

// Rules are those that a real driver would make.
func (s *Sim) Rules(network string) ([]Rule, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.nets[network]
	if !ok {
		return nil, fmt.Errorf("network %q is not set on this host", network)
	}
	all := slices.Collect(maps.Values(s.nets))
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	p := plannedNetwork{Network: n, Publish: n.Publish, Peers: peers(all)[n.Name]}
	return rulesOf(p, []plannedNetwork{p}), nil
}

// Check finds what is wrong with c in itself.
func (s *Sim) Check(_ context.Context, c Config) error {
	_, errs := c.normalize()
	return errors.Join(errs...)
}

// Attach remembers c.
func (s *Sim) Attach(ctx context.Context, c NSConfig) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(ctx, "attach", c.ID); err != nil {
		return "", err
	}
	if err := c.check(s.nets); err != nil {
		return "", err
	}
	s.jails[c.ID] = c
	return "sim:" + c.ID, nil
}

// Detach forgets a jail.
func (s *Sim) Detach(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(ctx, "detach", id); err != nil {
		return err
	}
	delete(s.jails, id)
	return nil
}

// List returns the ids of the attached jails.
func (s *Sim) List(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(s.jails)), nil
}

// Sweep forgets all jails but those in keep.
func (s *Sim) Sweep(ctx context.Context, keep []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(ctx, "sweep", ""); err != nil {
		return err
	}
	maps.DeleteFunc(s.jails, func(id string, _ NSConfig) bool { return !slices.Contains(keep, id) })
	return nil
}

// Show returns what was remembered.
func (s *Sim) Show(ctx context.Context, network string) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.nets[network]
	if err := ctx.Err(); err != nil {
		return View{}, err
	}
	if !ok {
		return View{}, fmt.Errorf("network %q is not set on this host", network)
	}
	v := View{Network: n.Name, Bridge: bridgeName(n.ID), Up: true, MTU: n.mtu()}
	v.Host, v.Router = valid(n.HostAddr(), n.HostAddr6()), valid(n.Gateway(), n.Gateway6())
	for _, id := range slices.Sorted(maps.Keys(s.jails)) {
		for _, p := range s.jails[id].Ports {
			if p.Network != network {
				continue
			}
			addrs := valid(p.Addr, p.Addr6)
			v.Ports = append(v.Ports, PortView{Jail: id, NIC: p.NIC, Link: jailPort(id, p.NIC), MAC: p.mac(id), Addrs: addrs, Pinned: addrs, Up: true})
		}
	}
	return v, nil
}

// RouterNS returns a path that does not exist.
func (s *Sim) RouterNS(network string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.nets[network]
	if !ok {
		return "", fmt.Errorf("network %q is not set on this host", network)
	}
	return "sim:router-" + n.ID, nil
}

// Teardown forgets everything.
func (s *Sim) Teardown(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(ctx, "teardown", ""); err != nil {
		return err
	}
	clear(s.nets)
	clear(s.jails)
	return nil
}

// Close does nothing.
func (s *Sim) Close() error { return nil }

// Calls returns what was called so far, such as "set" and "attach 1a2b3c4d".
func (s *Sim) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}
