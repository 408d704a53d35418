package hostagent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
)

// RouterConfig says how a network's router process is started: the daemon's
// own binary, as a jail of one program.
type RouterConfig struct {
	Binary string // absolute path of rexcarcer
	Build  string // changes when the binary does: routers are then replaced
}

// router is the process that serves DNS in one network's router namespace.
type router struct {
	network string
	spec    jail.Spec
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// runtimeJail is FreeBSD's jail(8).
const runtimeJail = "jail"

const routerPrefix = "rex-router-"

func routerID(netID string) string { return routerPrefix + netID }

// SocketPath is where a network's slice of State is served, for its router
// and for those jails that may ask.
func SocketPath(runDir, network string) string {
	return filepath.Join(runDir, "networks", network, network+".seq_packet")
}

// DHCPSocketPath is where a network's router lends its socket for DHCP.
func DHCPSocketPath(runDir, network string) string {
	return filepath.Join(runDir, "networks", network, network+".dhcp")
}

// SyslogSocketPath is where a network's router hands over what jails log.
func SyslogSocketPath(runDir, network string) string {
	return filepath.Join(runDir, "networks", network, network+".syslog")
}

// ensureRouter starts the router of n, or adopts it, and keeps it alive.
func (n *networks) ensureRouter(ctx context.Context, net netd.Network) error {
	if n.a.c.Router == nil {
		return nil
	}
	spec, err := n.a.routerSpec(net)
	if err != nil {
		return fmt.Errorf("router of network %s: %w", net.Name, err)
	}
	if r := n.routers[net.Name]; r != nil {
		if r.spec.Seq == spec.Seq {
			return nil
		}
		r.stop()
		delete(n.routers, net.Name)
	}
	list, err := n.a.c.Jails.List(ctx)
	if err != nil {
		return fmt.Errorf("router of network %s: %w", net.Name, err)
	}
	for _, st := range list {
		if st.ID == spec.ID && st.Seq != spec.Seq { // of another build or another address
			if err := n.a.c.Jails.Remove(ctx, spec.ID); err != nil {
				return fmt.Errorf("replace router of network %s: %w", net.Name, err)
			}
		}
	}
	if err := n.a.startRouter(ctx, spec); err != nil {
		return fmt.Errorf("start router of network %s: %w", net.Name, err)
	}
	r := &router{network: net.Name, spec: spec}
	keep, cancel := context.WithCancel(ctx)
	r.cancel = cancel
	r.done.Go(func() { n.a.keepRouter(keep, r) })
	n.routers[net.Name] = r
	return nil
}

func (r *router) stop() {
	r.cancel()
	r.done.Wait()
}

// wait lets the keepers end; the routers themselves go on.
func (n *networks) wait() {
	for _, r := range n.routers {
		r.stop()
	}
}

// dropRouters removes those whose network is no longer wanted.
func (n *networks) dropRouters(want netd.Config) {
	wanted := map[string]bool{}
	for _, net := range want.Networks {
		wanted[net.Name] = true
	}
	for name, r := range n.routers {
		if wanted[name] {
			continue
		}
		r.stop()
		delete(n.routers, name)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if err := n.a.c.Jails.Remove(ctx, r.spec.ID); err != nil {
			n.a.c.Log.Warn("cannot remove router", "network", name, "err", err)
		}
		cancel()
	}
}

// sweepRouters removes, once, the routers that a killed agent has left of
// networks which are gone.
func (n *networks) sweepRouters(ctx context.Context, want netd.Config) error {
	if n.swept {
		return nil
	}
	wanted := map[string]bool{}
	for _, net := range want.Networks {
		wanted[routerID(net.ID)], wanted[proxyID(net.ID)], wanted[uplinkID(net.ID)] = true, proxied(net), net.Inet != ""
	}
	list, err := n.a.c.Jails.List(ctx)
	for _, st := range list {
		if strings.HasPrefix(st.ID, routerPrefix) && !wanted[st.ID] {
			n.a.c.Log.Info("removing the router of a network that is gone", "id", st.ID, "name", st.Name)
			err = errors.Join(err, n.a.c.Jails.Remove(ctx, st.ID))
		}
	}
	if err != nil {
		return fmt.Errorf("sweep routers: %w", err)
	}
	n.swept = true
	return nil
}

// keepRouter starts a router again that has died.
func (a *Agent) keepRouter(ctx context.Context, r *router) {
	wait := backoff{first: 100 * time.Millisecond, limit: 10 * time.Second}
	for ctx.Err() == nil {
		begun := a.c.Clock()
		st, err := a.c.Jails.Wait(ctx, r.spec.ID)
		if ctx.Err() != nil {
			return
		}
		a.c.Log.Error("router ended, starting it again", "network", r.network, "exit", st.Exit, "err", err)
		a.metrics.failures.WithLabelValues("router").Inc()
		if a.c.Clock().Sub(begun) > time.Minute {
			wait.reset()
		}
		if !sleep(ctx, wait.next()) {
			return
		}
		if err := a.c.Jails.Remove(ctx, r.spec.ID); err != nil {
			a.c.Log.Warn("cannot clean up after router", "network", r.network, "err", err)
			continue
		}
		if err := a.startRouter(ctx, r.spec); err != nil {
			a.c.Log.Warn("cannot start router", "network", r.network, "err", err)
		}
	}
}

// startRouter starts a router, or leaves alone the one that runs. Under
// jail(8) it gets a copy of the binary: single files cannot be mounted on every
// release, and its root user must not reach the daemon's own.
func (a *Agent) startRouter(ctx context.Context, spec jail.Spec) error {
	if a.c.Runtime == runtimeJail {
		if err := copyBinary(a.c.Router.Binary, filepath.Join(spec.Root, "rexcarcer")); err != nil {
			return err
		}
	}
	_, err := a.c.Jails.Start(ctx, spec)
	return err
}

// copyBinary replaces to by rename: a process that runs keeps its own.
func copyBinary(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy the daemon's binary: %w", err)
	}
	defer in.Close()
	out, err := renameio.NewPendingFile(to, renameio.WithStaticPermissions(0o555))
	if err != nil {
		return fmt.Errorf("copy the daemon's binary: %w", err)
	}
	defer func() { _ = out.Cleanup() }()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copy the daemon's binary to %s: %w", to, err)
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("copy the daemon's binary to %s: %w", to, err)
	}
	return nil
}

func (a *Agent) routerSpec(net netd.Network) (jail.Spec, error) {
	ns, err := a.c.Nets.RouterNS(net.Name)
	if err != nil {
		return jail.Spec{}, err
	}
	root := filepath.Join(a.c.Dir, "router")
	if a.c.Runtime == runtimeJail { // its mounts are the host's: two routers cannot share the places for them
		root = filepath.Join(a.c.Dir, "routers", net.ID)
	}
	sockets := filepath.Dir(SocketPath(a.c.RunDir, net.Name))
	if err := makeDirs(root, filepath.Join(root, "run"), filepath.Join(root, "proc"), filepath.Join(root, "dev"),
		filepath.Join(root, "sys"), filepath.Join(root, "tmp"), filepath.Join(root, "run", "net"), sockets); err != nil {
		return jail.Spec{}, err
	}
	mounts := []jail.Mount{{Source: sockets, Target: "/run/net", ReadOnly: true}}
	if a.c.Runtime != runtimeJail {
		if err := touch(filepath.Join(root, "rexcarcer")); err != nil {
			return jail.Spec{}, err
		}
		mounts = append(mounts, jail.Mount{Source: a.c.Router.Binary, Target: "/rexcarcer", ReadOnly: true})
	}
	argv := []string{"/rexcarcer", "router", "-network", net.Name, "-feed", "/run/net/" + net.Name + ".seq_packet",
		"-dhcp", "/run/net/" + net.Name + ".dhcp", "-syslog", "/run/net/" + net.Name + ".syslog",
		"-listen", netip.AddrPortFrom(net.Gateway(), 53).String()}
	if gw6 := net.Gateway6(); gw6.IsValid() {
		argv = append(argv, "-listen", netip.AddrPortFrom(gw6, 53).String())
	}
	argv = append(argv, "-clients", net.Subnet.String())
	if net.Subnet6.IsValid() {
		argv = append(argv, "-clients", net.Subnet6.String())
	}
	for _, r := range a.c.Resolvers {
		argv = append(argv, "-forward", r.String())
	}
	sum := sha256.Sum256([]byte(a.c.Router.Build + "\x00" + strings.Join(argv, "\x00") + ns))
	return jail.Spec{
		ID: routerID(net.ID), Name: net.Name + "-router", UUID: routerID(net.ID), Seq: binary.BigEndian.Uint64(sum[:8]) >> 1,
		Root: root, ReadOnlyRoot: true, NoCaps: true, Argv: argv, NetNS: ns, StopTimeout: 2 * time.Second,
		Mounts:  mounts,
		LogPath: filepath.Join(a.c.LogDir, net.Name+"-router.log"),
	}, nil
}

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o755)
	if err != nil {
		return err
	}
	return errors.Join(f.Close())
}
