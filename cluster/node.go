package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/rexcarcer/rexcarcer/cluster/raftlog"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// Node is this host's member of the raft group.
type Node struct {
	cfg     Config
	id      Identity
	raft    *raft.Raft
	store   *raftlog.Log
	ahead   *ahead // nil: the transport is not gated, or there is none
	machine *machine
	archive *archive
	guard   *guard
	lead    <-chan bool // capacity 1, owned by RunDuties
	metrics *metrics
	leading atomic.Bool // a duty term runs: all that was committed before it is applied

	members members
	skew    skew
	terms   terms

	closeOnce sync.Once
	closeErr  error
}

// Open starts the member that lives in cfg.Dir, making a new group of one in
// an empty directory. It refuses a directory that has lost its memory and one
// whose log is damaged. The caller runs Run and calls Close.
func Open(cfg Config) (*Node, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	raftDir := filepath.Join(cfg.Dir, "raft")
	if err := os.MkdirAll(raftDir, 0o700); err != nil {
		return nil, fmt.Errorf("make raft directory: %w", err)
	}
	id, err := openIdentity(cfg.Dir, cfg.Host, cfg.NewID)
	if err != nil {
		return nil, err
	}
	store, err := openStore(raftDir, cfg.syncLog)
	if err != nil {
		return nil, err
	}
	book, err := readBook(cfg.Dir)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	n := &Node{cfg: cfg, id: id, store: store, metrics: newMetrics(cfg.Reg), members: newMembers(id.Host, book)}
	n.skew.gauge = n.metrics.skew
	n.terms.now.Store(newTerm())
	if err := n.start(raftDir); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return n, nil
}

// openStore opens the log: raft.db, after a look at whether it is whole, and the segments above it.
func openStore(raftDir string, sync func(*os.File) error) (*raftlog.Log, error) {
	dbPath := filepath.Join(raftDir, "raft.db")
	if err := checkLog(dbPath); err != nil {
		return nil, err
	}
	store, err := raftboltdb.New(raftboltdb.Options{
		Path:                    dbPath,
		MsgpackUseNewTimeFormat: true,
		BoltOptions: &bbolt.Options{
			Timeout: 3 * time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
		},
	})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: another rexcarcer uses this data directory; stop it or choose another -data-dir", dbPath)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dbPath, err)
	}
	log, err := raftlog.Open(raftDir, store, sync)
	if damage := (*raftlog.DamageError)(nil); errors.As(err, &damage) {
		return nil, damaged(damage.Path, errors.New(damage.Why))
	}
	return log, err
}

func (n *Node) start(raftDir string) (err error) {
	// raft panics on a log with holes that its reader meets at start.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("start raft in %s: the log is damaged (%v): restore a snapshot, or wipe the directory and join again", raftDir, p)
		}
	}()
	logger := hclogTo(n.cfg.Log)
	snaps, err := raft.NewFileSnapshotStoreWithLogger(raftDir, 3, logger)
	if err != nil {
		return fmt.Errorf("open snapshots: %w", err)
	}
	if n.guard, err = openGuard(n.cfg.Dir, n.store, snaps); err != nil {
		return err
	}
	if n.archive, err = openArchive(filepath.Join(n.cfg.Dir, "archive"), n.store, n.cfg.ArchiveBytes, n.cfg.ArchiveAge); err != nil {
		return err
	}
	n.machine = newMachine(n.archive, n.cfg.Fatal, n.metrics, n.cfg.Clock)

	transport := n.transport(logger)
	known, err := raft.HasExistingState(n.store, n.store, snaps)
	if err != nil {
		return fmt.Errorf("read raft state: %w", err)
	}
	rc := n.raftConfig()
	rc.Logger = logger
	log, err := n.raftLog(transport)
	if err != nil {
		return err
	}
	if n.raft, err = raft.NewRaft(rc, n.machine, log, n.store, snaps, transport); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	if n.ahead != nil {
		n.ahead.raft.Store(n.raft)
	}
	n.lead = n.raft.LeaderCh()
	if known || n.cfg.Join {
		return nil
	}
	one := raft.Configuration{Servers: []raft.Server{{ID: rc.LocalID, Address: raft.ServerAddress(n.cfg.Advertise)}}}
	if err := n.raft.BootstrapCluster(one).Error(); err != nil {
		return errors.Join(fmt.Errorf("bootstrap: %w", err), n.raft.Shutdown().Error())
	}
	return nil
}

// raftLog is the log as raft sees it.
func (n *Node) raftLog(transport raft.Transport) (raft.LogStore, error) {
	const entries = 1024
	if _, ok := transport.(gated); !ok {
		return raft.NewLogCache(entries, n.store)
	}
	n.ahead = &ahead{log: n.store, fail: n.cfg.Fatal}
	cache, err := raft.NewLogCache(entries, aheadLog{n.store, n.ahead})
	return settledLog{cache, n.ahead}, err
}

func (n *Node) transport(logger hclog.Logger) raft.Transport {
	switch {
	case n.cfg.Transport != nil:
		return n.cfg.Transport
	case n.cfg.Layer == nil:
		_, t := raft.NewInmemTransport(raft.ServerAddress(n.cfg.Advertise))
		return t
	}
	return gated{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: n, Logger: logger, Stream: n.cfg.Layer, MaxPool: 4, Timeout: 5 * time.Second,
		MsgpackUseNewTimeFormat: true,
	}), n.store}
}

func (n *Node) raftConfig() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(n.id.Host)
	rc.HeartbeatTimeout = n.cfg.Heartbeat
	rc.ElectionTimeout = n.cfg.Heartbeat
	rc.LeaderLeaseTimeout = n.cfg.Heartbeat / 2
	rc.CommitTimeout = 20 * time.Millisecond
	rc.MaxAppendEntries = 512
	rc.BatchApplyCh = true
	rc.SnapshotThreshold = n.cfg.SnapshotEvery
	rc.SnapshotInterval = 2 * time.Second // with TrailingLogs: an older snapshot is of use where the newest is damaged
	rc.TrailingLogs = n.cfg.TrailingLogs
	return rc
}

// ID is this host's identity.
func (n *Node) ID() fsm.HostID { return n.id.Host }

// State is the newest State. It never returns nil and never blocks.
func (n *Node) State() *fsm.State { return n.machine.state() }

// Watch returns a channel that is closed when a State newer than the one that
// State returned before the call may be there. Take it before reading State.
func (n *Node) Watch() <-chan struct{} { return n.machine.watch() }

// Wait returns the first State for which ok holds.
func (n *Node) Wait(ctx context.Context, ok func(*fsm.State) bool) (*fsm.State, error) {
	for {
		changed := n.Watch()
		if s := n.State(); ok(s) {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return n.State(), ctx.Err()
		}
	}
}

// Leader reports whether this host leads, and the leader's address.
func (n *Node) Leader() (self bool, addr string) {
	a, id := n.raft.LeaderWithID()
	return string(id) == string(n.id.Host) && n.raft.State() == raft.Leader, string(a)
}

// LeaderID is who leads as far as this host knows, "" for nobody.
func (n *Node) LeaderID() fsm.HostID {
	if self, _ := n.Leader(); self {
		return n.id.Host
	}
	return n.leader()
}

// Snapshot asks raft for a snapshot now, which also archives the entries.
func (n *Node) Snapshot() error {
	if err := n.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// Close leaves raft and closes the files. It is idempotent.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		err := n.raft.Shutdown().Error()
		if c, ok := n.cfg.Layer.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
		n.closeErr = errors.Join(err, n.store.Close())
	})
	return n.closeErr
}
