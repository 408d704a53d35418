package spec

import (
	"net/netip"
	"time"
)

// Wish is what the user wrote, typed, validated and fully expanded: variables
// are evaluated, count is unrolled, self.* is replaced. It is stored verbatim
// in the log and never edited by the system.
//
// Name scopes it: applying a Wish replaces all that an earlier Wish of the
// same Name declared, and touches nothing of any other Name.
type Wish struct {
	Name     string    `json:"name"`               // the cluster block's label, or the file's base name
	Domain   string    `json:"domain,omitempty"`   // DNS suffix of the cluster, no trailing dot; empty keeps the cluster's
	Source   string    `json:"source,omitempty"`   // file name as the user gave it, for people
	SSHKeys  []string  `json:"ssh_keys,omitempty"` // public keys that may log in to jails with START_SSH, as in authorized_keys; sorted
	Networks []Network `json:"networks,omitempty"`
	Images   []Image   `json:"images,omitempty"`
	Jails    []Jail    `json:"jails,omitempty"` // one per replica, sorted by Group then Index
}

// Network is one L2 segment with its addresses. Subnets of a cluster must not
// overlap, whoever declares them.
type Network struct {
	Name    string       `json:"name"`
	Subnet  netip.Prefix `json:"subnet"`            // first address: gateway, second: reserved for the host
	Subnet6 netip.Prefix `json:"subnet6,omitzero"`  // optional
	NAT     bool         `json:"nat,omitempty"`     // jails reach the outside through the router
	Publish []Publish    `json:"publish,omitempty"` // sorted by Name
	Allow   []string     `json:"allow,omitempty"`   // networks whose jails may connect to this one; sorted
	Open    []Open       `json:"open,omitempty"`    // networks whose jails may connect to some ports of this one; sorted by From
	Overlay string       `json:"overlay,omitempty"` // "": from host to host by WireGuard; OverlayNone: not by us
	VLAN    int          `json:"vlan,omitempty"`    // 1..4094: from host to host by this VLAN of their NICs
	DHCP    *DHCP        `json:"dhcp,omitempty"`    // nil: guests are served from the upper half of the subnet
}

// OverlayNone is the Overlay of a network that does not reach from host to host.
const OverlayNone = "none"

// Publish forwards a port of each host to the healthy members of a service.
type Publish struct {
	Name    string `json:"name"`
	Port    uint16 `json:"port"` // on the host, 1..65535
	Service string `json:"service"`
	Proto   string `json:"proto,omitempty"` // "tcp" (default) or "udp"
	Mode    string `json:"mode,omitempty"`  // "" is L4, ModeHTTP a proxy that speaks HTTP

	Shared bool          `json:"shared,omitempty"` // other networks that say so too may publish the same port: all their members take turns
	Drain  time.Duration `json:"drain,omitempty"`  // how long connections of a member that left may go on, 1s..1h; 0 is DefaultDrain
}

// ModeHTTP is the Mode of a published port behind which a proxy reads each request.
const ModeHTTP = "http"

// DefaultDrain is how long connections to a member that is no longer one go on when nothing is said.
const DefaultDrain = 30 * time.Second

// Open lets the jails of another network connect to some ports of this one.
type Open struct {
	From  string   `json:"from"`  // network
	Ports []string `json:"ports"` // PORT/PROTO or PORT-PORT/PROTO, see ParsePorts; sorted
}

// Image is a buildable root file system. Key is the digest of everything that
// goes into it (base, steps, the content that COPY takes), so two images of
// one Key are the same wish, wherever they are built.
type Image struct {
	Name    string       `json:"name"`              // NAME or NAME:TAG
	Key     string       `json:"key"`               // "sha256:<hex>", see ImageKey
	Base    string       `json:"base"`              // as written after BASE: debian:bookworm, host:/, a path, an image's name
	Steps   []Step       `json:"steps,omitempty"`   // in order
	Env     []EnvVar     `json:"env,omitempty"`     // for every process of the jail, in order, later wins
	Command []string     `json:"command,omitempty"` // CMD: default argv of a jail that names none
	Rexfile string       `json:"rexfile,omitempty"` // where it was read, for people
	Context string       `json:"context,omitempty"` // digest of the packed COPY content, "" if there is none
	Volumes []string     `json:"volumes,omitempty"` // VOLUME paths
	Service []Service    `json:"services,omitempty"`
	Host    string       `json:"hostname,omitempty"`  // HOSTNAME
	Addr    netip.Prefix `json:"addr,omitzero"`       // IP
	SSH     bool         `json:"start_ssh,omitempty"` // START_SSH: an sshd with the cluster's user keys

	// BaseDigest pins what is behind Base, where that has a digest of its own: "sha256:<hex>". rexctl asks the cluster for
	// it and seals the keys again.
	BaseDigest string `json:"base_digest,omitempty"`
}

// EnvVar is one NAME=value pair.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// StepKind is what one PROVISION step does.
type StepKind string

// The kinds of Step.
const (
	StepRun  StepKind = "run"
	StepCopy StepKind = "copy"
	StepEnv  StepKind = "env" // changes the environment of the steps that follow
)

// Step is one PROVISION line. Its Key is the digest of its parent's Key and
// all of its inputs: equal keys share one cached layer.
type Step struct {
	Kind StepKind `json:"kind"`
	Run  string   `json:"run,omitempty"` // a shell command line
	Src  []string `json:"src,omitempty"` // COPY: paths inside the build context, "." for all of it
	Dst  string   `json:"dst,omitempty"` // COPY: absolute path in the root
	Env  []EnvVar `json:"env,omitempty"`
	// Owner of what COPY makes: USER or USER:GROUP, names of the image or
	// numbers; "" is root.
	Owner string `json:"owner,omitempty"`
	// Digest of the content that COPY takes, so that Key can be computed
	// again by whoever does not have the content ("" for other kinds).
	Digest string `json:"digest,omitempty"`
	Key    string `json:"key"`  // "sha256:<hex>"
	Line   int    `json:"line"` // in the .rex file, for messages
	Text   string `json:"text"` // the line as written, for progress
}

// Jail is one replica, expanded.
type Jail struct {
	Name     string `json:"name"`            // the hostname: NAME, or NAME-N where count is given
	Group    string `json:"group"`           // the block's label
	Index    int    `json:"index,omitempty"` // from 1; 0 where no count is given
	Replicas int    `json:"replicas"`        // how many the group has, >= 1

	Hostname  string        `json:"hostname,omitempty"` // only when it differs from Name: a FQDN is served as given
	Image     string        `json:"image"`
	ImageKey  string        `json:"image_key,omitempty"` // Key of that image when this Wish declares it too
	NICs      []NIC         `json:"nics,omitempty"`      // at least one, unless the jail wants no network
	Command   []string      `json:"command,omitempty"`   // argv; empty: the image's
	Env       []EnvVar      `json:"env,omitempty"`       // sorted by name
	User      string        `json:"user,omitempty"`      // name, uid or uid:gid inside the jail; empty is root
	Ephemeral bool          `json:"ephemeral,omitempty"` // the root is thrown away at each stop, and may skip syncing
	Socket    bool          `json:"socket,omitempty"`    // it may ask the cluster about itself, on the socket of each of its networks
	NoFence   bool          `json:"no_fence,omitempty"`  // it goes on where its host is cut off, while another one of it may run elsewhere
	WorkDir   string        `json:"workdir,omitempty"`
	Services  []Service     `json:"services,omitempty"` // sorted by Name
	Volumes   []Volume      `json:"volumes,omitempty"`  // sorted by Name
	Limits    Limits        `json:"limits,omitzero"`
	Depends   []string      `json:"depends_on,omitempty"` // groups of this Wish; sorted
	Restart   Restart       `json:"restart"`
	Update    Update        `json:"update"`
	Place     Placement     `json:"placement,omitzero"`
	Stop      time.Duration `json:"stop_timeout"`      // TERM to KILL, default 10s
	Runtime   string        `json:"runtime,omitempty"` // "", "jail", "linux", "sim"
	OS        string        `json:"os,omitempty"`      // of the image: freebsd, linux; empty: any
	Arch      string        `json:"arch,omitempty"`    // amd64, arm64; empty: any
}

// NIC is one network interface of a jail.
type NIC struct {
	Network string     `json:"network"`
	Addr    netip.Addr `json:"addr,omitzero"`  // zero: leased ("dhcp")
	Addr6   netip.Addr `json:"addr6,omitzero"` // zero: leased when the network has subnet6
}

// Service is a name under which healthy members of a group are found.
type Service struct {
	Name  string `json:"name"`
	Port  uint16 `json:"port"`
	Proto string `json:"proto,omitempty"` // "tcp" (default) or "udp"
	Check *Check `json:"check,omitempty"` // nil: healthy as soon as it runs
}

// Check decides about health, seen from the host.
type Check struct {
	Type     string        `json:"type"`              // tcp, http, exec
	Path     string        `json:"path,omitempty"`    // http
	Command  []string      `json:"command,omitempty"` // exec: rc 0 is healthy
	Interval time.Duration `json:"interval"`          // default 2s, 100ms..1h
	Timeout  time.Duration `json:"timeout"`           // default 1s
	Grace    time.Duration `json:"grace"`             // failures do not count so long after start; default 0
	Failures int           `json:"failures"`          // in a row until unhealthy; default 3
}

// Volume outlives the jail. Its identity is (Wish, Jail name, Name).
type Volume struct {
	Name       string `json:"name"`
	Path       string `json:"path"`                  // absolute, in the jail
	QuotaBytes int64  `json:"quota_bytes,omitempty"` // 0: none
	Source     string `json:"source,omitempty"`      // a host directory to bind instead of an own dataset
	ReadOnly   bool   `json:"read_only,omitempty"`
	// Snapshot takes a snapshot before the jail starts with a changed image,
	// command or the like. It is not of the volume and changes nothing in it.
	Snapshot bool `json:"snapshot_before_change,omitempty"`
}

// Limits of one jail; zero means none.
type Limits struct {
	MemoryBytes int64   `json:"memory_bytes,omitempty"`
	CPU         float64 `json:"cpu,omitempty"` // cores, 0.01..1024
	Processes   int64   `json:"processes,omitempty"`
	OpenFiles   int64   `json:"open_files,omitempty"`
	CPUSet      string  `json:"cpuset,omitempty"` // "0,2-3"
}

// Restart says what happens when the jail's process ends by itself.
type Restart struct {
	Policy     string        `json:"policy"`             // always (default), on-failure, never
	Backoff    time.Duration `json:"backoff"`            // first delay, default 1s; doubles up to MaxBackoff
	MaxBackoff time.Duration `json:"max_backoff"`        // default 5m
	Attempts   int           `json:"attempts,omitempty"` // 0: no limit
}

// Update paces a rolling change of a group, gated on health.
type Update struct {
	MaxParallel int           `json:"max_parallel"` // default 1
	MinHealthy  time.Duration `json:"min_healthy"`  // so long healthy before the next; default 0
}

// Placement guides the scheduler.
type Placement struct {
	Spread     string   `json:"spread,omitempty"`     // "host", or a label's key
	Constraint []string `json:"constraint,omitempty"` // expressions that must hold, see ParseConstraint
	Affinity   []string `json:"affinity,omitempty"`   // expressions, or bare label names, that raise the score
	BinPack    bool     `json:"binpack,omitempty"`    // fill hosts instead of levelling them
	Priority   int      `json:"priority,omitempty"`   // 0..100, default 50 written as 0
	Host       string   `json:"host,omitempty"`       // pin by host name
}
