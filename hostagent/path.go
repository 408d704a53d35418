package hostagent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
)

// Path is the way of a jail's packets as it was found on this host.
type Path struct {
	Steps       []PathStep // from the jail outwards
	Differences []string   // from what is wished; none: all is as wished
}

// PathStep is one thing on the way.
type PathStep struct {
	Where string // jail, bridge, router, host
	What  string // interface, route, dns, nat, rule, ...
	Found string
}

// found is what Path looked at.
type found struct {
	jail    *fsm.Jail
	nets    map[string]*fsm.Network // by name
	views   map[string]netd.View    // by network
	routers map[string]bool         // by network: its process runs
	trace   *netd.Trace             // nil: this system cannot be asked
	resolv  string                  // /etc/resolv.conf in the jail
	wanted  string                  // what we wrote there
	domain  string                  // of the cluster
	dns     map[string]string       // by network: what its router said, "" is the right answer
	failed  []string                // what could not be looked at
}

const dnsPatience = 2 * time.Second // a resolver in the jail waits longer

// Path looks at what a jail of this host is connected by.
func (a *Agent) Path(ctx context.Context, name fsm.JailName) (Path, error) {
	s := a.c.Cluster.State()
	j, ok := s.Jails.Get(string(name))
	if !ok {
		return Path{}, fmt.Errorf("jail %s: %w", name, jail.ErrNotFound)
	}
	if w := WantOf(s, a.c.Host, name, j.UUID); w.Run == nil {
		return Path{}, fmt.Errorf("jail %s: %w", name, ErrElsewhere)
	}
	f := found{jail: j, nets: map[string]*fsm.Network{}, views: map[string]netd.View{}, routers: map[string]bool{}, dns: map[string]string{},
		wanted: resolvConf(s, j), domain: s.Cluster.Domain}
	running, err := a.routersRunning(ctx)
	if err != nil {
		return Path{}, err
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(networksOf(j)))) {
		n, ok := s.Networks.Get(name)
		if !ok {
			continue
		}
		f.nets[name], f.routers[name] = n, running[routerID(n.ID)]
		if f.views[name], err = a.c.Nets.Show(ctx, name); err != nil {
			f.failed = append(f.failed, err.Error())
		}
		if !a.features.Simulated && len(j.Names) > 0 {
			f.dns[name] = askRouter(ctx, n.Gateway, f.nameIn(name), j)
		}
	}
	a.pathInside(ctx, &f)
	return f.path(), nil
}

// pathInside looks into the jail and along the routes.
func (a *Agent) pathInside(ctx context.Context, f *found) {
	if a.features.Simulated {
		return
	}
	var out, complaint bytes.Buffer
	code, err := a.Exec(ctx, fsm.JailName(f.jail.Spec.Name), jail.Exec{Argv: []string{"cat", "/etc/resolv.conf"}, Stdout: &out, Stderr: &complaint})
	switch f.resolv = out.String(); {
	case err != nil:
		f.failed = append(f.failed, fmt.Sprintf("read /etc/resolv.conf: %v", err))
	case code != 0:
		f.failed = append(f.failed, "read /etc/resolv.conf: "+strings.TrimSpace(complaint.String()))
	}
	t, ok := a.c.Nets.(netd.Tracer)
	if !ok {
		f.failed = append(f.failed, "routes and rules cannot be traced on this system")
		return
	}
	trace, err := t.Trace(ctx, shortID(f.jail.UUID), slices.Compact(slices.Sorted(slices.Values(networksOf(f.jail)))))
	if err != nil {
		f.failed = append(f.failed, err.Error())
		return
	}
	f.trace = &trace
}

// nameIn is the jail's name in one of its networks.
func (f *found) nameIn(network string) string {
	return f.jail.Spec.Name + "." + network + "." + f.domain
}

// askRouter asks a router for a name of the jail, and says what is wrong with
// the answer.
func askRouter(ctx context.Context, router netip.Addr, name string, j *fsm.Jail) string {
	ctx, cancel := context.WithTimeout(ctx, dnsPatience)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, netip.AddrPortFrom(router, 53).String())
	}}
	got, err := r.LookupNetIP(ctx, "ip", name+".")
	if err != nil {
		var d *net.DNSError
		switch {
		case !errors.As(err, &d):
			return err.Error()
		case d.IsNotFound:
			return "it does not know " + name
		}
		return d.Err // the rest names this host's own resolver, which is not asked
	}
	for _, a := range j.Addrs {
		if slices.ContainsFunc(got, func(g netip.Addr) bool { return g.Unmap() == a.Addr || g == a.Addr6 }) {
			return ""
		}
	}
	return fmt.Sprintf("%s is %v there", name, got)
}
