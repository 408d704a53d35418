package cluster

import (
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Config of one Node.
type Config struct {
	Dir       string     // data directory; raft/, archive/ and the identity live in it
	Host      fsm.HostID // "" reads or makes the identity in Dir
	Advertise string     // address of this node to its peers; "" is "local" (a group of one)

	// Layer carries raft to other members; nil: Transport, and with that nil
	// too a group of one, in memory.
	Layer     raft.StreamLayer
	Transport raft.Transport
	Peers     Peers // carries everything else to them; nil: nobody is asked
	// Join waits in an empty directory for a group to take this host in,
	// instead of founding one.
	Join bool

	// Timeouts of raft; zero takes 800 ms (150 ms in a group of one, where
	// nobody else can be waited for).
	Heartbeat time.Duration

	// PingEvery is how often a member tells the leader that it is there;
	// default 1 s, or Heartbeat if that is less.
	PingEvery time.Duration
	// LeaderWait is how long Propose waits while nobody leads; default 1.5 s.
	LeaderWait time.Duration
	// Stabilize is how long a server must have been well before it may vote;
	// default 5 s.
	Stabilize time.Duration

	SnapshotEvery uint64 // entries between snapshots, default 32768
	TrailingLogs  uint64 // entries kept behind a snapshot, default 98304: from the snapshot before it on, even when writes are fast

	ArchiveBytes int64         // oldest segments go above this, default 1 GiB
	ArchiveAge   time.Duration // and above this age, default 1 year

	// HangLimit is how long a small fsync in Dir may take before Fatal is
	// called; default 5 s, negative turns the watchdog off.
	HangLimit time.Duration

	syncLog func(*os.File) error // nil but in tests, which hang the disk

	Clock func() time.Time      // default time.Now
	NewID func() string         // default a ULID
	Fatal func(error)           // ends the process; required
	Log   *slog.Logger          // required
	Reg   prometheus.Registerer // may be nil
}

// MaxEntryBytes bounds an encoded entry; raft itself would take any size.
const MaxEntryBytes = 8 << 20

// ErrNotLeader is returned by Propose where nobody could be found who leads.
var ErrNotLeader = errors.New("this host does not lead the cluster")

// ErrTooOld is returned by Events when the archive no longer reaches back so far.
var ErrTooOld = errors.New("older than the archive")

func (c *Config) defaults() error {
	if c.Fatal == nil || c.Log == nil || c.Dir == "" {
		return errors.New("cluster config: Dir, Fatal and Log are required")
	}
	if c.Advertise == "" {
		c.Advertise = "local"
	}
	setDefault(&c.SnapshotEvery, 32768)
	setDefault(&c.TrailingLogs, 98304)
	setDefault(&c.ArchiveBytes, 1<<30)
	setDefault(&c.ArchiveAge, 365*24*time.Hour)
	setDefault(&c.HangLimit, 5*time.Second)
	if c.Heartbeat == 0 {
		c.Heartbeat = 800 * time.Millisecond
		if c.alone() {
			c.Heartbeat = 150 * time.Millisecond
		}
	}
	setDefault(&c.PingEvery, min(time.Second, c.Heartbeat))
	setDefault(&c.LeaderWait, 1500*time.Millisecond)
	setDefault(&c.Stabilize, 5*time.Second)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.NewID == nil {
		c.NewID = newULID
	}
	return nil
}

func (c *Config) alone() bool { return c.Transport == nil && c.Layer == nil }

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
