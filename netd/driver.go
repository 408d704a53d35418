package netd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Driver makes networks so. All methods may be called by several goroutines; Attach and Detach of different jails run
// in parallel.
type Driver interface {
	// Probe says whether this host can do it, and what is missing if not.
	Probe(ctx context.Context) error

	// Set makes bridges, routers and rules exactly those of c and removes networks of ours that c does not name. It does
	// all that it can: the error joins one *NetworkError, *OverlapError, *InetError or *PortTakenError per thing that it could not.
	Set(ctx context.Context, c Config) error

	// Check returns what would stand in the way of Set(c), with the same errors, and changes nothing.
	Check(ctx context.Context, c Config) error

	// Drain cuts connections by published ports to members that left so long ago as the port's Drain says, and returns
	// in how long it has something to do again; 0 is when Set was called. It starts to count when it first sees them.
	Drain(ctx context.Context, now time.Time) (again time.Duration, err error)

	// Rules returns the effective rules of a network that was Set, in words.
	Rules(network string) ([]Rule, error)

	// Reach makes the ways to addresses of meshed networks that other hosts run exactly remote: routes to the mesh, and
	// answers for them to neighbours. Networks and the mesh's device must be there; after Set it has to be called again.
	// Addresses of networks that are not meshed are left out.
	Reach(ctx context.Context, remote []Remote) error

	// Attach makes the network namespace of a jail exactly c and returns its path. The networks must have been Set.
	Attach(ctx context.Context, c NSConfig) (path string, err error)

	// Detach cuts a jail off and removes its namespace; an unknown id is success. Links may vanish a moment later.
	Detach(ctx context.Context, id string) error

	// List returns the ids of the jails that have a namespace here, sorted.
	List(ctx context.Context) ([]string, error)

	// Sweep detaches every jail of this instance whose id is not in keep, and removes what a killed predecessor left.
	Sweep(ctx context.Context, keep []string) error

	// Show returns one network as it is found, not as it was wished.
	Show(ctx context.Context, network string) (View, error)

	// RouterNS returns the path of the router's namespace of a network that was Set.
	RouterNS(network string) (string, error)

	// Teardown removes all that this instance has made on the host, jails' namespaces too.
	Teardown(ctx context.Context) error

	// Close waits for background work and releases descriptors and reserved ports; everything made stays.
	Close() error
}

// Options are what a real driver is made from.
type Options struct {
	Instance  string                // `^[a-z0-9]{1,16}$`, short id of the daemon's data directory; in every mark
	RunDir    string                // owned by this instance, such as /run/rexcarcer/INSTANCE
	HostNS    string                // path of the network namespace that plays the host; "" is that of this process
	LinkRange netip.Prefix          // uplink addresses, a /31 per network; zero is DefaultLinkRange, on FreeBSD 198.19.192.0/18
	Runner    run.Runner            `json:"-"` // starts nft; nil is run.Real
	Metrics   prometheus.Registerer `json:"-"` // nil: none
	Log       *slog.Logger          `json:"-"` // nil: silent
}

// DefaultLinkRange holds 8192 uplinks, and not the metadata addresses of clouds.
var DefaultLinkRange = netip.MustParsePrefix("169.254.192.0/18")

// ErrUnsupported is returned where this driver cannot work at all.
var ErrUnsupported = errors.New("networks of this kind need Linux or FreeBSD")

// NetworkError is what stood in the way of one network.
type NetworkError struct {
	Network string
	Err     error
}

func (e *NetworkError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *NetworkError) Unwrap() error { return e.Err }

// InetError says that a router has no interface on the NIC that Network.Inet names; the network works by the host.
type InetError struct {
	Network string
	Err     error
}

func (e *InetError) Error() string {
	return fmt.Sprintf("network %s: its router has no interface outside and goes by this host: %v", e.Network, e.Err)
}

// Unwrap returns the cause.
func (e *InetError) Unwrap() error { return e.Err }

// OverlapError says that a subnet is in use on the host by something that is not ours.
type OverlapError struct {
	Network string
	Subnet  netip.Prefix
	With    netip.Prefix // the host's route or address
	Dev     string       // its interface
	Owner   string       // alias of that interface, if it has one
}

func (e *OverlapError) Error() string {
	owner := ""
	if e.Owner != "" {
		owner = " (" + e.Owner + ")"
	}
	return fmt.Sprintf("network %s: subnet %v overlaps %v on interface %s%s of this host: choose another subnet or remove that route",
		e.Network, e.Subnet, e.With, e.Dev, owner)
}

// PortTakenError says that a published port is in use on the host.
type PortTakenError struct {
	Network string
	Port    uint16
	Proto   string
	Process string // "name (pid N)", or "" when it could not be found
}

func (e *PortTakenError) Error() string {
	by := "another program"
	if e.Process != "" {
		by = e.Process
	}
	return fmt.Sprintf("network %s: published port %d/%s is in use on this host by %s: choose another port or stop that program",
		e.Network, e.Port, e.Proto, by)
}

// View is one network of this host as it was found.
type View struct {
	Network string       `json:"network"`
	Bridge  string       `json:"bridge"`
	Up      bool         `json:"up"`
	MTU     int          `json:"mtu"`
	Host    []netip.Addr `json:"host"`    // addresses of the host on the bridge
	Router  []netip.Addr `json:"router"`  // addresses of the router on its side of the network
	Uplink  netip.Addr   `json:"uplink"`  // the router's address towards the host
	Inet    []netip.Addr `json:"inet"`    // the router's own outside, by DHCP
	Ports   []PortView   `json:"ports"`   // sorted by Jail, then NIC
	Rules   string       `json:"rules"`   // the router's rules as nft or pfctl prints them
	Foreign []string     `json:"foreign"` // members of the bridge that are not ours
}

// PortView is one interface of a jail as it was found.
type PortView struct {
	Jail string `json:"jail"` // 8 hex digits
	NIC  int    `json:"nic"`
	Link string `json:"link"` // host end
	MAC  MAC    `json:"mac"`
	// Addrs are those configured inside the namespace; Pinned those that the bridge lets pass.
	Addrs  []netip.Addr `json:"addrs"`
	Pinned []netip.Addr `json:"pinned"`
	Up     bool         `json:"up"`
}
