package jail

import (
	"context"
	"errors"
	"io"
	"time"
)

// Driver runs jails on this host. It is safe for concurrent use; calls for one id are taken one after the other, except
// Wait, Exec and Stats, which never block the rest.
type Driver interface {
	// Probe tries what this host can do, by a throw-away jail. The error says what is missing and how to get it.
	Probe(ctx context.Context) (Features, error)

	// Start creates and starts the jail. One that runs already under this ID is left alone; the leftovers of one that does
	// not are removed first. The root and the network namespace must exist.
	Start(ctx context.Context, s Spec) (Status, error)

	// Stop sends SIGTERM, waits for timeout (0: the Spec's StopTimeout) and then kills. It returns when every process of
	// the jail is gone. An unknown id is success: Phase Stopped, exit unknown.
	Stop(ctx context.Context, id string, timeout time.Duration) (Status, error)

	// Remove kills what still runs and deletes all that Start made. The log file stays.
	Remove(ctx context.Context, id string) error

	// Update changes the limits of a running jail; zero fields mean no limit. OpenFiles applies from the next start.
	Update(ctx context.Context, id string, l Limits) error

	// List returns every jail of this Instance that Start made and Remove did not, sorted by ID, also those of a
	// predecessor.
	List(ctx context.Context) ([]Status, error)

	// Wait returns when the jail has ended, or ErrNotFound.
	Wait(ctx context.Context, id string) (Status, error)

	// Exec runs a command in a running jail and returns its exit code (128+signal when a signal ended it). The error is nil
	// when the command ran, whatever its code. A program that is not there is 127, one that cannot be executed 126, both with
	// a line on Stderr.
	Exec(ctx context.Context, id string, x Exec) (int, error)

	// Stats reads what the jail uses now, or ErrNotFound.
	Stats(ctx context.Context, id string) (Stats, error)
}

// Errors on which callers branch.
var (
	ErrNotFound   = errors.New("no such jail on this host")
	ErrNotRunning = errors.New("jail is not running")

	// ErrFinal marks what a retry of the same Spec cannot mend: command or user not found, invalid Spec.
	ErrFinal = errors.New("will not work when retried")
)

// Spec is the whole wish for one jail.
type Spec struct {
	ID       string // unique on this host, [a-z0-9][a-z0-9._-]*, at most 100 bytes; "rex-" + uuid
	Name     string // for people and messages
	UUID     string // of the jail; returned by List
	Hostname string // empty: Name
	Seq      uint64 // of the Run; returned by List
	Root     string // mounted root file system, absolute
	Argv     []string
	Env      []string // NAME=value, later wins; PATH, HOME and TERM have defaults
	User     string   // "", name, uid, name:group or uid:gid; names are looked up beneath Root
	WorkDir  string   // absolute; empty: /
	// NetNS is whose network the jail shares. Linux: the path of a network namespace. FreeBSD: the name of a persistent
	// vnet jail that netd made and configured (interfaces, addresses, routes) before Start and removes after Remove; the
	// jail is created as its child, named NetNS + "." + its own name, with ip4 and ip6 inherited and neither vnet nor
	// vnet.interface: so not even its root can change an address, a MAC or a name of an interface. Empty: a new network
	// without any link.
	NetNS  string
	Mounts []Mount
	Limits Limits
	IDMap  IDMap // zero: no user namespace

	StopTimeout time.Duration // TERM to KILL; 0: 10s
	LogPath     string        // output is appended; created 0640 when missing; empty: /dev/null

	// AddCaps adds to the default capabilities, by name ("NET_ADMIN"). For routers and builds.
	AddCaps []string

	// NoCaps leaves out the default capabilities: root in the jail may only what AddCaps says. For routers. Linux only.
	NoCaps bool

	// Devices are shown in /dev besides those that every jail has: "pf", "bpf", "bpf*", for routers. FreeBSD only.
	Devices []string

	// ReadOnlyRoot mounts Root read-only, for routers. FreeBSD: it does not.
	ReadOnlyRoot bool
}

// Mount binds a directory or file of the host (Source) to Target in the jail. Target is made when missing.
type Mount struct {
	Source, Target string // absolute
	ReadOnly       bool
}

// IDMap gives the jail a user namespace in which 0..Size-1 are HostBase..HostBase+Size-1 of the host.
// The files below Root must belong to that range already, or be mounted id-mapped, and every directory above Root must
// be searchable by others (0711): the jail's root is nobody special on the host.
type IDMap struct {
	HostBase, Size uint32
}

// Limits of one jail; zero is no limit.
type Limits struct {
	MemoryBytes int64   // hard limit, swap included; >= 4 MiB
	CPU         float64 // cores, 0.01..1024
	Processes   int64   // processes and threads
	OpenFiles   int64   // per process; capped to what the host allows us
	CPUSet      string  // "0,2-3"
}

// Phase of a jail as the driver sees it.
type Phase string

// The phases.
const (
	Created Phase = "created" // half made: Start was interrupted. Start again, or Remove
	Running Phase = "running"
	Stopped Phase = "stopped"
)

// Status is one observation.
type Status struct {
	ID, Name, UUID string
	Seq            uint64
	PID            int // of the first process, as the host sees it; 0 when not running
	Phase          Phase
	StartedAt      time.Time
	Exit           *Exit // not nil when Phase is Stopped
}

// Exit says how the first process ended.
type Exit struct {
	Known  bool   // false: it ended while nobody watched; Code is -1 then
	Code   int    // 0..255; 128+signal when a signal ended it
	Signal string // "SIGKILL"; empty when it exited by itself
	OOM    bool   // the kernel killed a process of it for want of memory, and it ended by SIGKILL
	At     time.Time
}

// Exec is a command to run in a jail that runs.
type Exec struct {
	Argv    []string
	Env     []string  // added to the jail's
	User    string    // as Spec.User; empty: root
	WorkDir string    // empty: /
	Stdin   io.Reader // nil: nothing to read
	Stdout  io.Writer // nil: discarded
	Stderr  io.Writer // nil: discarded; unused with TTY
	TTY     bool      // a terminal of its own: job control, one merged output on Stdout
	Size    WinSize   // first size of the terminal; zero: 80x24
	Resize  <-chan WinSize
}

// WinSize is the size of a terminal, in characters.
type WinSize struct{ Rows, Cols uint16 }

// Stats is what a jail uses now.
type Stats struct {
	MemoryBytes int64 // page cache that can be dropped included
	MemoryPeak  int64 // 0: unknown
	CPUTime     time.Duration
	PIDs        int64
	OOMKills    int64
}

// Features says what Probe found.
type Features struct {
	Driver    string // "linux", "jail", "sim"
	Runtime   string // "runc 1.1.5", "crun 1.8.1", "simulated"
	Simulated bool
	CGroup    string   // "v1", "hybrid", "v2", ""
	UserNS    bool     // IDMap works
	Seccomp   bool     // jails are filtered
	ExitInfo  bool     // the exit code of an adopted jail can be learned (Linux 6.15)
	Limits    []string // of memory, cpu, pids, cpuset: those that work; sorted
	Notes     []string // what was tried and did not work, for people

	LimitsReason string // why memory, cpu and pids cannot be limited; empty when they can
}
