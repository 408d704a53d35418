package netd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// freebsd is the Driver of FreeBSD hosts, by ifconfig(8), route(8), jail(8), jexec(8) and pfctl(8). The files freebsd_*
// have no build tag: they are tested on every machine against a model of the host.
//
// What is a network namespace on Linux is here a persistent vnet jail without a process, whose root is the host's: the
// holder. Jails become its children and inherit its network stack, so they own no interface: their root can neither
// rename one, nor change its address or its MAC (prison_owns_vnet(9) guards these), and the tools of the host work in it.
//
// On the host, for the network 1a2b3c4d with the jail 99aabbcc:
//
//	host                                  rexr-INSTANCE-1a2b3c4d (router)     rexn-INSTANCE-99aabbcc (jail)
//	ru1a2b3c4d0 198.19.192.0/31  -------- rv1a2b3c4d0 198.19.192.1/31
//	rb1a2b3c4d0 bridge, 10.66.0.2
//	 |- rr1a2b3c4d0 --------------------- rl1a2b3c4d0 10.66.0.1/24
//	 `- rh99aabbcc0 ---------------------------------------------------------- rj99aabbcc0 10.66.0.7/24
//	                                      rp5566778800 -- peer router (only for Allow)
type freebsd struct {
	o    Options
	root bool // runs as root; set before use

	setMu   sync.Mutex        // one of Set, Check, Sweep and Teardown at a time
	applied map[string]pfText // guarded by setMu; anchor or router jail to what was last loaded there
	emptied map[string]bool   // guarded by setMu; networks whose anchors were flushed
	told    string            // guarded by setMu; the limits that were last logged
	relays  relays            // guarded by setMu
	reached bool              // guarded by setMu; the last Reach made ways

	mu   sync.RWMutex       // read: a jail changes; write: the networks change
	nets map[string]Network // guarded by mu; by name
	mesh *Mesh              // guarded by mu; nil: there is no other host
	busy locks              // one Attach or Detach of a jail at a time

	relMu   sync.Mutex
	release int // guarded by relMu; kern.osreldate, 0: not asked yet

	m *metrics
}

var _ Driver = (*freebsd)(nil)

// Programs, by the absolute paths of the base system: the PATH of rc is bare.
const (
	ifconfigPath = "/sbin/ifconfig"
	routePath    = "/sbin/route"
	pfctlPath    = "/sbin/pfctl"
	sysctlPath   = "/sbin/sysctl"
	netstatPath  = "/usr/bin/netstat"
	sockstatPath = "/usr/bin/sockstat"
	jailPath     = "/usr/sbin/jail"
	jlsPath      = "/usr/sbin/jls"
	jexecPath    = "/usr/sbin/jexec"

	// freebsdGroup is on every host end of ours. It ends in a letter, interfaces of ours in a digit: pf tells both apart by
	// that, and a name that is also a group panics the kernel.
	freebsdGroup = "rexcarcer"

	// toolTimeout bounds one command; those of the network answer at once or hang.
	toolTimeout = 30 * time.Second
)

// freebsdLinkRange is what DefaultLinkRange is on Linux: FreeBSD forwards no packet to 169.254.0.0/16 (RFC 3927, section 2.7),
// and answers of the outside to a router are such. This one is of the range for tests of networks (RFC 2544), which is
// routed nowhere; 198.18.0.0/16 of it is for builds.
var freebsdLinkRange = netip.MustParsePrefix("198.19.192.0/18")

// NewFreeBSD returns the driver of FreeBSD hosts. It compiles everywhere, so that it can be tested against a Runner that
// plays one. It makes nothing yet; Close it.
func NewFreeBSD(o Options) (Driver, error) { return newFreeBSD(o) }

func newFreeBSD(o Options) (*freebsd, error) {
	switch {
	case !instancePattern.MatchString(o.Instance):
		return nil, fmt.Errorf("instance %q is not 1 to 16 lower-case letters and digits", o.Instance)
	case !filepath.IsAbs(o.RunDir):
		return nil, fmt.Errorf("run directory %q is not an absolute path", o.RunDir)
	case o.HostNS != "":
		return nil, fmt.Errorf("network namespace %q: FreeBSD has none", o.HostNS)
	}
	if o.LinkRange == (netip.Prefix{}) {
		o.LinkRange = freebsdLinkRange
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
	return &freebsd{o: o, root: os.Geteuid() == 0, applied: map[string]pfText{}, emptied: map[string]bool{}, nets: map[string]Network{}, m: m}, nil
}

// run starts a tool of the host and returns its standard output, also beside an error.
func (d *freebsd) run(ctx context.Context, argv ...string) (string, error) {
	return d.start(ctx, run.Cmd{Argv: argv, Timeout: toolTimeout})
}

// start runs c. A program that is not where the base system has it is looked for in PATH.
func (d *freebsd) start(ctx context.Context, c run.Cmd) (string, error) {
	res, err := d.o.Runner.Run(ctx, c)
	if run.NotFound(err) {
		c.Argv = slices.Concat([]string{path.Base(c.Argv[0])}, c.Argv[1:])
		res, err = d.o.Runner.Run(ctx, c)
	}
	return string(res.Stdout), err
}

// within runs a tool in the network of a holder; "" is the host's. ifconfig and route know -j since 14.0 and 13.3; the
// others, and all of them before that, go through jexec, which finds the host's programs because the holder's root is /.
func (d *freebsd) within(ctx context.Context, holder string, argv ...string) (string, error) {
	switch {
	case holder == "":
		return d.run(ctx, argv...)
	case (argv[0] == ifconfigPath || argv[0] == routePath) && d.knowsJ(ctx):
		return d.run(ctx, slices.Concat([]string{argv[0], "-j", holder}, argv[1:])...)
	}
	return d.run(ctx, slices.Concat([]string{jexecPath, holder}, argv)...)
}

func (d *freebsd) knowsJ(ctx context.Context) bool {
	d.relMu.Lock()
	defer d.relMu.Unlock()
	if d.release == 0 {
		out, err := d.sysctl(ctx, "kern.osreldate")
		if err != nil {
			return false // jexec works everywhere
		}
		d.release, _ = strconv.Atoi(out)
	}
	return d.release >= 1400000 || d.release >= 1303000 && d.release < 1400000
}

func (d *freebsd) sysctl(ctx context.Context, name string) (string, error) {
	out, err := d.run(ctx, sysctlPath, "-n", name)
	return strings.TrimSpace(out), err
}

// said tells whether a command failed with this text: exit codes differ between tools and releases (pfctl uses 1, 2 and
// 255), texts have kept their beginnings.
func said(err error, text string) bool {
	e, ok := asRunError(err)
	return ok && strings.Contains(e.Stderr, text)
}

// Probe makes and removes what every network needs.
func (d *freebsd) Probe(ctx context.Context) error {
	if !d.root {
		return errors.New("networks need root: run as root, or with -runtime=sim")
	}
	if v, err := d.sysctl(ctx, "kern.features.vimage"); err != nil || v != "1" {
		return errors.New("this kernel has no vnet (options VIMAGE): run a GENERIC kernel of FreeBSD 13 or newer")
	}
	if v, err := d.sysctl(ctx, "security.jail.jailed"); err != nil || v != "0" {
		return errors.New("this is a jail: run the daemon on the host")
	}
	for _, kind := range []string{"epair", "bridge"} {
		name, err := d.create(ctx, kind, mark{Instance: d.o.Instance, Network: "00000000", Jail: markGone})
		if err != nil {
			return fmt.Errorf("this host makes no %s interfaces (kernel module if_%s): %w", kind, kind, err)
		}
		if err := d.destroy(ctx, "", name); err != nil {
			return err
		}
	}
	return nil
}

// RouterNS returns the name of a router's vnet jail.
func (d *freebsd) RouterNS(name string) (string, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n, ok := d.nets[name]
	if !ok {
		return "", fmt.Errorf("network %q is not set on this host", name)
	}
	return d.routerHolder(n.ID), nil
}

// List returns the ids of jails that have a holder.
func (d *freebsd) List(ctx context.Context) ([]string, error) {
	return d.holders(ctx, d.jailHolder(""))
}

// Close ends the relays of published ports; everything made on the host stays.
func (d *freebsd) Close() error {
	d.setMu.Lock()
	defer d.setMu.Unlock()
	return d.relays.close()
}
