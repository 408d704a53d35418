package cluster

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Recovered says what a lone survivor goes on with.
type Recovered struct {
	Host  fsm.HostID
	Index uint64 // of its State
	Last  uint64 // of its log before: entries above Index were not commands
	Hosts int    // members of the cluster, this one among them
}

// Recover makes the member in cfg.Dir a group of one: it goes on alone where a
// quorum is lost for good. The Node must not run.
//
// All that is in its log counts as committed from then on, also entries whose
// senders were told that nobody knows what became of them. What only the lost
// members had is lost. Those members must not come back: the caller raises the
// generation before, and the new leader denies them.
func Recover(cfg Config) (Recovered, error) {
	if err := cfg.defaults(); err != nil {
		return Recovered{}, err
	}
	raftDir := filepath.Join(cfg.Dir, "raft")
	id, err := openIdentity(cfg.Dir, cfg.Host, cfg.NewID)
	if err != nil {
		return Recovered{}, err
	}
	store, err := openStore(raftDir, cfg.syncLog)
	if err != nil {
		return Recovered{}, err
	}
	n := &Node{cfg: cfg, id: id, store: store, metrics: newMetrics(nil), members: newMembers(id.Host, nil)}
	out, err := n.recover(raftDir)
	return out, errors.Join(err, store.Close())
}

func (n *Node) recover(raftDir string) (Recovered, error) {
	logger := hclogTo(n.cfg.Log)
	snaps, err := raft.NewFileSnapshotStoreWithLogger(raftDir, 3, logger)
	if err != nil {
		return Recovered{}, fmt.Errorf("open snapshots: %w", err)
	}
	if n.guard, err = openGuard(n.cfg.Dir, n.store, snaps); err != nil {
		return Recovered{}, err
	}
	if n.archive, err = openArchive(filepath.Join(n.cfg.Dir, "archive"), n.store, n.cfg.ArchiveBytes, n.cfg.ArchiveAge); err != nil {
		return Recovered{}, err
	}
	last, err := n.store.LastIndex()
	if err != nil {
		return Recovered{}, fmt.Errorf("read the last index of the log: %w", err)
	}
	n.machine = newMachine(n.archive, n.cfg.Fatal, n.metrics, n.cfg.Clock)
	rc := n.raftConfig()
	rc.Logger = logger
	_, transport := raft.NewInmemTransport(raft.ServerAddress(n.cfg.Advertise))
	alone := raft.Configuration{Servers: []raft.Server{{ID: rc.LocalID, Address: raft.ServerAddress(n.cfg.Advertise)}}}
	if err := raft.RecoverCluster(rc, n.machine, n.store, n.store, snaps, transport, alone); err != nil {
		return Recovered{}, fmt.Errorf("recover the raft group: %w", err)
	}
	s := n.machine.state()
	return Recovered{Host: n.id.Host, Index: s.Index, Last: last, Hosts: s.Hosts.Len()}, nil
}
