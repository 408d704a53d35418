package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Peers carries requests to another member. An error that wraps ErrNotLeader
// says that the member does not lead, or that it could not be reached.
type Peers interface {
	// Propose commits e there. A *fsm.Refusal comes back as the error.
	Propose(ctx context.Context, to fsm.HostID, e fsm.Entry) (index uint64, err error)
	// ReadIndex is the index that a State must have reached to hold all that
	// was acknowledged before the call.
	ReadIndex(ctx context.Context, to fsm.HostID) (uint64, error)
	// Ping tells a member that this one is there.
	Ping(ctx context.Context, to fsm.HostID, p Ping) (Pong, error)
}

// Ping is what a member says of itself.
type Ping struct {
	Peer      string `json:"peer"`       // HOST:PORT of its cluster port
	Applied   uint64 `json:"applied"`    // index of its State
	LastIndex uint64 `json:"last_index"` // of its log
	LastTerm  uint64 `json:"last_term"`
}

// Pong is the answer.
type Pong struct {
	Leader  fsm.HostID `json:"leader"`  // "": nobody that is known
	Addr    string     `json:"addr"`    // HOST:PORT of the leader
	Leading bool       `json:"leading"` // the one that answers is the leader
	Index   uint64     `json:"index"`   // of the State there
	// Now is the clock of the one that answers, in nanoseconds since 1970; 0:
	// its program does not say.
	Now int64 `json:"now,omitempty"`
	// Applied is how far the members are, as the leader has heard.
	Applied map[fsm.HostID]uint64 `json:"applied,omitempty"`
}

// proposeThere carries e to the leader and waits until it is applied here.
func (n *Node) proposeThere(ctx context.Context, e fsm.Entry) (fsm.Applied, error) {
	var index uint64
	err := n.askLeader(ctx, func(ctx context.Context, leader fsm.HostID) (err error) {
		index, err = n.cfg.Peers.Propose(ctx, leader, e)
		return err
	})
	if err != nil {
		return fsm.Applied{Index: index}, err
	}
	if _, err := n.Wait(ctx, func(s *fsm.State) bool { return s.Index >= index }); err != nil {
		return fsm.Applied{Index: index}, fmt.Errorf("wait until entry %d is applied here: %w", index, err)
	}
	applied := fsm.Applied{Index: index}
	events, _ := n.machine.eventsSince(index - 1)
	for _, h := range events {
		if h.Index != index {
			break
		}
		applied.Events = append(applied.Events, h)
	}
	return applied, nil
}

// noLeader explains why nothing can be written now.
func (n *Node) noLeader() error {
	voters, seen := n.members.voters()
	if voters == 0 {
		return fmt.Errorf("%w, and knows nobody who does: fewer than half of the servers answer", ErrNotLeader)
	}
	return fmt.Errorf("%w, and knows nobody who does: %d of %d voters answer here, %d must", ErrNotLeader, seen, voters, voters/2+1)
}

// leader is who leads as far as raft, or else the last answer to a ping, knows.
func (n *Node) leader() fsm.HostID {
	if _, id := n.raft.LeaderWithID(); id != "" {
		return fsm.HostID(id)
	}
	return n.members.hint(n.cfg.Clock())
}

// PeerAddr is the HOST:PORT of a member's cluster port.
func (n *Node) PeerAddr(id fsm.HostID) (string, bool) {
	if id == n.id.Host {
		return n.cfg.Advertise, true
	}
	heard, known := n.members.addr(id, n.cfg.Clock())
	if heard != "" {
		return heard, true
	}
	if h, ok := n.State().Hosts.Get(string(id)); ok && h.Peer != "" {
		return h.Peer, true
	}
	return known, known != ""
}

// ServerAddr implements raft.ServerAddressProvider: the address names the
// member, so that a dial reaches nobody else.
func (n *Node) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	addr, ok := n.PeerAddr(fsm.HostID(id))
	if !ok {
		return "", fmt.Errorf("address of host %s is not known yet", id)
	}
	return raft.ServerAddress(string(id) + "@" + addr), nil
}

// ReadIndex is the index that a State must have reached to hold all that was
// acknowledged before the call, here or anywhere. While nobody leads it waits
// for LeaderWait.
func (n *Node) ReadIndex(ctx context.Context) (index uint64, err error) {
	err = n.withLeader(ctx, func() error {
		if n.cfg.Peers == nil || n.raft.State() == raft.Leader {
			index, err = n.ReadIndexHere(ctx)
			return err
		}
		return n.askLeader(ctx, func(ctx context.Context, leader fsm.HostID) error {
			index, err = n.cfg.Peers.ReadIndex(ctx, leader)
			return err
		})
	})
	return index, err
}

// ReadIndexHere is ReadIndex where this host leads, else ErrNotLeader. What
// was acknowledged was applied here before; that this host still leads after
// its index was read makes sure that nobody has acknowledged more.
func (n *Node) ReadIndexHere(ctx context.Context) (uint64, error) {
	if n.raft.State() != raft.Leader {
		return 0, n.noLeader()
	}
	if !n.leading.Load() { // what earlier leaders committed may not be applied yet
		if err := await(ctx, n.raft.Barrier(0)); err != nil {
			return 0, errors.Join(ErrNotLeader, err)
		}
	}
	index := n.State().Index
	if err := await(ctx, n.raft.VerifyLeader()); err != nil {
		return 0, errors.Join(ErrNotLeader, err)
	}
	return index, nil
}

// WaitConsistent returns a State that holds all that was acknowledged before
// the call.
func (n *Node) WaitConsistent(ctx context.Context) (*fsm.State, error) {
	index, err := n.ReadIndex(ctx)
	if err != nil {
		return nil, fmt.Errorf("consistent read: %w", err)
	}
	return n.Wait(ctx, func(s *fsm.State) bool { return s.Index >= index })
}
