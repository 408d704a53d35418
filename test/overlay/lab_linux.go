package overlay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/netd/mesh"
)

// Network is what all jails of a lab are in.
const Network = "lan"

// Port is where devices listen.
const Port = 51820

var (
	hosts  = netip.MustParsePrefix("198.19.0.0/17")
	subnet = netip.MustParsePrefix("10.66.0.0/24")
)

// Lab is some hosts on one wire.
type Lab struct {
	Hosts []*Host
	jails map[string]*jail // by id
	close []func() error
}

// Host is a network namespace with its networks and its end of the overlay.
type Host struct {
	NS   string     // path of the namespace
	Wire netip.Addr // on the wire
	Addr netip.Addr // on the overlay
	Key  mesh.Key
	Next mesh.Key // zero: none; others know it, and use it for nothing
	Mesh *mesh.Mesh
	Nets netd.Driver
	Gone bool // removed: no peer of the others
}

type jail struct {
	at   int
	addr netip.Addr
	ns   string
}

// New makes n hosts below dir. Close the lab whatever New returns.
func New(ctx context.Context, dir string, n int) (*Lab, error) {
	l := &Lab{jails: map[string]*jail{}}
	wire, err := l.namespace()
	if err != nil {
		return l, err
	}
	err = In(wire, func() error {
		b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "wire"}}
		return errors.Join(netlink.LinkAdd(b), netlink.LinkSetUp(b))
	})
	for i := 0; err == nil && i < n; i++ {
		err = l.addHost(dir, wire, i)
	}
	if err != nil {
		return l, fmt.Errorf("make hosts: %w", err)
	}
	return l, l.Apply(ctx)
}

// namespace makes a network namespace and returns its path.
func (l *Lab) namespace() (string, error) {
	type made struct {
		fd  int
		err error
	}
	c := make(chan made)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err != nil {
			c <- made{-1, err}
			return
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		c <- made{fd, err}
	}()
	m := <-c
	if m.err != nil {
		return "", fmt.Errorf("make a network namespace: %w", m.err)
	}
	l.close = append(l.close, func() error { return unix.Close(m.fd) })
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), m.fd)
	return path, In(path, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
}

func (l *Lab) addHost(dir, wire string, i int) error {
	ns, err := l.namespace()
	if err != nil {
		return err
	}
	h := &Host{NS: ns, Wire: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), Addr: netip.AddrFrom4([4]byte{198, 19, 0, byte(i + 1)})}
	if err := plug(wire, ns, h.Wire, i); err != nil {
		return err
	}
	if h.Key, err = mesh.NewKey(rand.Reader); err != nil {
		return err
	}
	instance := fmt.Sprintf("0000000%x", i)
	if h.Mesh, err = mesh.New(mesh.Options{Instance: instance, HostNS: ns}); err != nil {
		return err
	}
	l.close = append(l.close, h.Mesh.Close)
	h.Nets, err = netd.New(netd.Options{Instance: instance, RunDir: filepath.Join(dir, instance), HostNS: ns})
	if err != nil {
		return err
	}
	l.close = append(l.close, func() error { return errors.Join(h.Nets.Teardown(context.Background()), h.Nets.Close()) })
	l.Hosts = append(l.Hosts, h)
	return nil
}

// plug connects a namespace with the wire.
func plug(wire, ns string, addr netip.Addr, i int) error {
	fd, err := unix.Open(ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = In(wire, func() error {
		b, err := netlink.LinkByName("wire")
		if err != nil {
			return err
		}
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("w%d", i), MasterIndex: b.Attrs().Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(fd)}
		return errors.Join(netlink.LinkAdd(v), netlink.LinkSetUp(v))
	})
	if err != nil {
		return err
	}
	return In(ns, func() error {
		x, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrAdd(x, &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(24, 32)}}), netlink.LinkSetUp(x))
	})
}

// Close takes all of it away, the newest first.
func (l *Lab) Close() error {
	var errs []error
	for _, f := range slices.Backward(l.close) {
		errs = append(errs, f())
	}
	l.close = nil
	return errors.Join(errs...)
}

// Apply gives each host what it should have, as the agent would after a change of the State.
func (l *Lab) Apply(ctx context.Context) error {
	for i, h := range l.Hosts {
		if h.Gone {
			continue
		}
		if err := l.apply(ctx, i, h); err != nil {
			return fmt.Errorf("host %d: %w", i, err)
		}
	}
	return nil
}

func (l *Lab) apply(ctx context.Context, i int, h *Host) error {
	c := mesh.Config{Private: h.Key, Port: Port, MTU: mesh.DefaultMTU, Addrs: []netip.Prefix{netip.PrefixFrom(h.Addr, hosts.Bits())}}
	var remote []netd.Remote
	for k, o := range l.Hosts {
		if k == i || o.Gone {
			continue
		}
		p := mesh.Peer{Name: fmt.Sprint(k), Key: o.Key.Public(), Endpoint: netip.AddrPortFrom(o.Wire, Port), Allowed: []netip.Addr{o.Addr}}
		for _, j := range l.jails {
			if j.at == k {
				p.Allowed = append(p.Allowed, j.addr)
				remote = append(remote, netd.Remote{Network: Network, Addr: j.addr})
			}
		}
		slices.SortFunc(p.Allowed, netip.Addr.Compare)
		c.Peers = append(c.Peers, p)
		if o.Next != (mesh.Key{}) {
			c.Peers = append(c.Peers, mesh.Peer{Name: fmt.Sprint(k, " next"), Key: o.Next.Public(), Endpoint: p.Endpoint})
		}
	}
	err := h.Nets.Set(ctx, netd.Config{
		Networks: []netd.Network{{Name: Network, ID: "aaaa0001", Subnet: subnet, MTU: mesh.DefaultMTU, Meshed: true}},
		Mesh:     &netd.Mesh{Device: h.Mesh.Device(), Addr: h.Addr, All: hosts},
	})
	return errors.Join(err, h.Mesh.Set(ctx, c), h.Nets.Reach(ctx, remote))
}

// Place starts a jail's network on a host: id is 8 hex digits, addr in 10.66.0.0/24. It returns the path of its namespace.
func (l *Lab) Place(ctx context.Context, at int, id, addr string) (string, error) {
	j := &jail{at: at, addr: netip.MustParseAddr(addr)}
	l.jails[id] = j
	if err := l.Apply(ctx); err != nil {
		return "", err
	}
	var err error
	j.ns, err = l.Hosts[at].Nets.Attach(ctx, netd.NSConfig{ID: id, Name: id, Ports: []netd.Port{{Network: Network, Addr: j.addr}}})
	return j.ns, err
}

// Move ends a jail's network where it is, and starts it on another host.
func (l *Lab) Move(ctx context.Context, id string, to int) (string, error) {
	j := l.jails[id]
	if err := l.Hosts[j.at].Nets.Detach(ctx, id); err != nil {
		return "", err
	}
	return l.Place(ctx, to, id, j.addr.String())
}

// In runs fn on a thread that is in the network namespace at path.
func In(path string, fn func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		// A thread that cannot go home stays locked and dies with its goroutine.
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		_ = unix.Close(home)
	}()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return fn()
}
