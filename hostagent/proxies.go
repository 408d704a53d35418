package hostagent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/hostagent/proxy"
	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/spec"
)

// proxies run a haproxy for each network that publishes a port with mode "http": a jail of one program beside the router's
// own, in the same namespace. Which ports there are and who the members are is told over its sockets.
type proxies struct {
	a    *Agent
	open map[string]*openProxy // by network
}

// openProxy is one of them.
type openProxy struct {
	*router
	wire *proxy.Proxy
	dir  string
}

const (
	proxyUser = "65534:65534" // nobody: a port below 1024 takes no privilege in a router's namespace
	proxyRun  = "/run/proxy"
	proxyFDs  = 65536
)

// proxyID begins as a router's: what spares the one spares the other.
func proxyID(netID string) string { return routerID(netID) + "-proxy" }

// proxied says whether a network has a port for a proxy.
func proxied(n netd.Network) bool {
	return slices.ContainsFunc(n.Publish, func(p netd.Publish) bool { return p.HTTP })
}

// pass makes the proxies those of want. again is in how long there is something to do, 0 if never.
func (p *proxies) pass(ctx context.Context, want netd.Config, now time.Time) (again time.Duration, err error) {
	if p.a.c.Router == nil || p.a.c.Runtime == runtimeJail { // netd has said that FreeBSD has none
		return 0, nil
	}
	var errs []error
	wanted := map[string]bool{}
	for _, n := range want.Networks {
		if !proxied(n) {
			continue
		}
		wanted[n.Name] = true
		x, err := p.ensure(ctx, n)
		if err != nil {
			errs = append(errs, fmt.Errorf("network %s: %w", n.Name, err))
			continue
		}
		again = soonest(again, p.converge(ctx, x, n, now))
	}
	for name, x := range p.open {
		if !wanted[name] {
			errs = append(errs, p.drop(ctx, name, x))
		}
	}
	return again, errors.Join(errs...)
}

// converge tells a proxy what is wanted. One that starts or loads its file is waited for, but not for long: whoever waits for
// the networks of this host waits for it too.
func (p *proxies) converge(ctx context.Context, x *openProxy, n netd.Network, now time.Time) time.Duration {
	for try := 0; ; try++ {
		wait, err := x.wire.Converge(ctx, proxyConfig(n), now)
		if err == nil && wait != proxy.LookAgain {
			return wait
		}
		if try == 20 || !sleep(ctx, 50*time.Millisecond) {
			p.a.c.Log.Warn("a proxy is not as wanted yet, trying again", "network", n.Name, "err", err)
			return time.Second
		}
	}
}

// canServe says what this host lacks for a published port.
func (a *Agent) canServe(p spec.Publish) error {
	switch {
	case p.Mode != spec.ModeHTTP || a.c.Router == nil: // simulated networks lead nowhere
		return nil
	case a.c.Runtime == runtimeJail:
		return errors.New("mode http is not there on FreeBSD: leave mode out")
	}
	_, err := haproxy()
	return err
}

// proxyConfig is pure: what the proxy of n shall do.
func proxyConfig(n netd.Network) proxy.Config {
	c := proxy.Config{V6: n.Subnet6.IsValid(), Run: proxyRun}
	for _, p := range n.Publish {
		if p.HTTP {
			c.Ports = append(c.Ports, proxy.Port{Port: p.HostPort, Members: p.Members, Drain: p.Drain})
		}
	}
	return c
}

// ensure starts the proxy of n, or adopts it, and keeps it alive.
func (p *proxies) ensure(ctx context.Context, n netd.Network) (*openProxy, error) {
	spec, dir, err := p.a.proxySpec(n)
	if err != nil {
		return nil, err
	}
	if x := p.open[n.Name]; x != nil {
		if x.spec.Seq == spec.Seq {
			return x, nil
		}
		x.stop()
		delete(p.open, n.Name)
	}
	list, err := p.a.c.Jails.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, st := range list {
		if st.ID == spec.ID && st.Seq != spec.Seq {
			if err := p.a.c.Jails.Remove(ctx, spec.ID); err != nil {
				return nil, fmt.Errorf("replace its proxy: %w", err)
			}
		}
	}
	wire := proxy.New(dir)
	if err := wire.Write(proxyConfig(n)); err != nil {
		return nil, err
	}
	if err := p.a.startRouter(ctx, spec); err != nil {
		return nil, fmt.Errorf("start its proxy: %w", err)
	}
	x := &openProxy{&router{network: n.Name, spec: spec}, wire, dir}
	keep, cancel := context.WithCancel(ctx)
	x.cancel = cancel
	x.done.Go(func() { p.a.keepRouter(keep, x.router) })
	p.open[n.Name] = x
	return x, nil
}

func (p *proxies) drop(ctx context.Context, name string, x *openProxy) error {
	x.stop()
	delete(p.open, name)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := p.a.c.Jails.Remove(ctx, x.spec.ID); err != nil {
		return fmt.Errorf("remove the proxy of network %s: %w", name, err)
	}
	if err := os.RemoveAll(x.dir); err != nil {
		return fmt.Errorf("remove the proxy of network %s: %w", name, err)
	}
	return nil
}

// wait lets the keepers end; the proxies themselves go on.
func (p *proxies) wait() {
	for _, x := range p.open {
		x.stop()
	}
}

// proxyDir is where a proxy's sockets and file are: short, because the path of a socket is.
func (a *Agent) proxyDir(netID string) string { return filepath.Join(a.c.RunDir, "proxy", netID) }

// proxySpec is the jail of n's proxy: haproxy and the libraries of the host, read-only, and a directory of its own.
func (a *Agent) proxySpec(n netd.Network) (s jail.Spec, dir string, err error) {
	program, err := haproxy()
	if err != nil {
		return s, "", err
	}
	ns, err := a.c.Nets.RouterNS(n.Name)
	if err != nil {
		return s, "", err
	}
	root, dir := filepath.Join(a.c.Dir, "proxy"), a.proxyDir(n.ID)
	if err := makeDirs(root, filepath.Join(root, "proc"), filepath.Join(root, "dev"), filepath.Join(root, "sys"), filepath.Join(root, "tmp"),
		filepath.Join(root, "usr"), filepath.Join(root, "etc"), filepath.Join(root, "run"), filepath.Join(root, proxyRun), dir); err != nil {
		return s, "", err
	}
	if err := errors.Join(os.Chown(dir, 65534, 65534), os.Chmod(dir, 0o700)); err != nil {
		return s, "", err
	}
	mounts := []jail.Mount{{Source: dir, Target: proxyRun}, {Source: "/usr", Target: "/usr", ReadOnly: true}}
	libraries, err := libraryMounts(root)
	if err != nil {
		return s, "", err
	}
	argv := proxy.Argv(program, proxyRun)
	sum := sha256.Sum256([]byte(strings.Join(argv, "\x00") + "\x00" + ns + "\x00" + dir))
	return jail.Spec{
		ID: proxyID(n.ID), Name: n.Name + "-proxy", UUID: proxyID(n.ID), Seq: binary.BigEndian.Uint64(sum[:8]) >> 1,
		Root: root, ReadOnlyRoot: true, Argv: argv, User: proxyUser, NetNS: ns, StopTimeout: 5 * time.Second,
		Mounts: append(mounts, libraries...), Limits: jail.Limits{OpenFiles: proxyFDs}, LogPath: filepath.Join(a.c.LogDir, n.Name+"-proxy.log"),
	}, dir, nil
}

// libraryMounts show /lib and its like in root as on the host: links into /usr, or directories.
func libraryMounts(root string) (out []jail.Mount, err error) {
	for _, name := range []string{"lib", "lib64"} {
		host, here := "/"+name, filepath.Join(root, name)
		to, err := os.Readlink(host)
		switch {
		case err == nil:
			if have, err := os.Readlink(here); err == nil && have == to {
				continue
			}
			if err := os.Symlink(to, here); err != nil {
				return nil, err
			}
		case dirExists(host):
			out = append(out, jail.Mount{Source: host, Target: host, ReadOnly: true})
		}
	}
	return out, nil
}

func dirExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// haproxy finds the program.
func haproxy() (string, error) {
	for _, name := range []string{"/usr/sbin/haproxy", "haproxy"} {
		path, err := run.LookPath(name)
		if err == nil && strings.HasPrefix(path, "/usr/") {
			return path, nil
		}
	}
	return "", errors.New("mode http needs haproxy below /usr: apt-get install haproxy")
}
