package netd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// linux is the Driver of Linux hosts.
type linux struct {
	o      Options
	table  string // name of our nftables tables
	hostFD int    // network namespace that plays the host
	host   *netlink.Handle
	rt, nf conns // rtnetlink and nfnetlink sockets in the host's namespace

	setMu    sync.Mutex        // one of Set, Sweep and Teardown at a time
	applied  map[string]string // guarded by setMu; namespace ("" for the host) to the rules last written there
	reach    reach             // guarded by setMu
	drains   drains            // guarded by setMu
	reserved map[string]int    // guarded by setMu; "port/proto" to the descriptor that holds it

	mu   sync.RWMutex       // read: a jail changes; write: the host's rules are written anew
	nets map[string]network // guarded by mu; by name
	pins map[string][]pin   // guarded by pinMu; by jail id
	busy locks              // one Attach or Detach of a jail at a time

	voice   voice
	pinMu   sync.Mutex
	reaper  reaper
	spares  spares
	m       *metrics
	addVLAN func(trunk netlink.Link, name string, id, mtu int) error
	step    func(string) // tests kill the process here; called after each change to the host
}

// network is one that was Set.
type network struct {
	Network
	planned plannedNetwork
	bridge  int   // interface index
	mesh    *Mesh // nil: nothing of it is on other hosts
}

// New returns the driver of this host. It makes nothing yet; Close it.
func New(o Options) (Driver, error) { return newLinux(o) }

func newLinux(o Options) (*linux, error) {
	switch {
	case !instancePattern.MatchString(o.Instance):
		return nil, fmt.Errorf("instance %q is not 1 to 16 lower-case letters and digits", o.Instance)
	case !filepath.IsAbs(o.RunDir):
		return nil, fmt.Errorf("run directory %q is not an absolute path", o.RunDir)
	}
	if o.LinkRange == (netip.Prefix{}) {
		o.LinkRange = DefaultLinkRange
	}
	if !o.LinkRange.Addr().Is4() || o.LinkRange.Bits() > 30 {
		return nil, fmt.Errorf("uplink range %v is not an IPv4 prefix of at most /30", o.LinkRange)
	}
	if o.Runner == nil {
		o.Runner = run.Real{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	path := o.HostNS
	if path == "" {
		path = "/proc/self/ns/net"
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(fd), unix.NETLINK_ROUTE)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	d := &linux{o: o, table: tableName(o.Instance), hostFD: fd, host: h, step: func(string) {}, m: m,
		applied: map[string]string{}, reserved: map[string]int{}, nets: map[string]network{}, pins: map[string][]pin{}}
	d.addVLAN = d.makeVLAN
	d.rt.open = func() (*conn, error) { return d.dialHost(unix.NETLINK_ROUTE) }
	d.nf.open = func() (*conn, error) { return d.dialHost(unix.NETLINK_NETFILTER) }
	d.reaper.remove = d.deleteLinks
	d.reaper.exists = d.linksLeft
	d.reaper.gone = d.unguard
	d.spares.make = func() (*namespace, error) { return newNS(jailSysctls) }
	return d, nil
}

func (d *linux) dialHost(protocol int) (c *conn, err error) {
	if d.o.HostNS == "" {
		return dial(protocol)
	}
	err = inNS(d.hostFD, func() error {
		c, err = dial(protocol)
		return err
	})
	return c, err
}

func (d *linux) jailDir() string                { return filepath.Join(d.o.RunDir, "netns") }
func (d *linux) jailPath(id string) string      { return filepath.Join(d.jailDir(), id) }
func (d *linux) routerDir() string              { return filepath.Join(d.o.RunDir, "router") }
func (d *linux) routerPath(netID string) string { return filepath.Join(d.routerDir(), netID) }

// Probe makes and removes what every network needs: a namespace, and a table in each family, without keeping them.
func (d *linux) Probe(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("networks need root: run as root, or with -runtime=sim")
	}
	if err := inNewNS(func() error { return nil }); err != nil {
		return fmt.Errorf("this kernel or container allows no network namespaces: %w", err)
	}
	text := hostRules(d.table, nil, fences{}) + bridgeRules(d.table, nil, nil)
	_, err := d.o.Runner.Run(ctx, run.Cmd{Argv: []string{"nft", "--check", "-f", "-"}, Stdin: strings.NewReader(text), NetNS: d.o.HostNS})
	if err != nil {
		return fmt.Errorf("nftables (package nftables, kernel modules nf_tables and nft_meta): %w", err)
	}
	return nil
}

// RouterNS returns the path of a router's namespace.
func (d *linux) RouterNS(name string) (string, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n, ok := d.nets[name]
	if !ok {
		return "", fmt.Errorf("network %q is not set on this host", name)
	}
	return d.routerPath(n.ID), nil
}

// List returns the ids of jails that have a namespace.
func (d *linux) List(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ids, err := listNS(d.jailDir())
	slices.Sort(ids)
	return ids, err
}

// Close waits for background work and releases descriptors and reserved ports.
func (d *linux) Close() error {
	err := d.reaper.close()
	d.spares.close()
	d.voice.close()
	d.setMu.Lock()
	defer d.setMu.Unlock()
	for _, fd := range d.reserved {
		_ = unix.Close(fd)
	}
	clear(d.reserved)
	d.rt.close()
	d.nf.close()
	d.host.Close()
	_ = unix.Close(d.hostFD)
	return err
}

// nft applies text in the namespace at path, as one transaction; "" is that of this process.
func (d *linux) nft(ctx context.Context, path, text string) error {
	_, err := d.o.Runner.Run(ctx, run.Cmd{Argv: []string{"nft", "-f", "-"}, Stdin: strings.NewReader(text), NetNS: path})
	if err != nil {
		return fmt.Errorf("write nftables rules: %w", err)
	}
	return nil
}
