package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// forwardTime bounds one try at a leader: one that hangs is replaced.
const forwardTime = 10 * time.Second

// terms holds a context that ends when this host hears of another leader, or
// that there is none any more. The zero value is of no use: see newTerm.
type terms struct{ now atomic.Pointer[term] }

type term struct {
	ctx context.Context //nolint:containedctx // it stands for the term
	end context.CancelFunc
}

func newTerm() *term {
	ctx, cancel := context.WithCancel(context.Background())
	return &term{ctx, cancel}
}

// followLeader ends a term at each change, until ctx ends.
func (n *Node) followLeader(ctx context.Context) {
	changes := make(chan raft.Observation, 16) // what does not fit is merged: the reader ends whatever term there is
	observer := raft.NewObserver(changes, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	for {
		select {
		case <-changes:
			n.terms.now.Swap(newTerm()).end()
		case <-ctx.Done():
			return
		}
	}
}

// askLeader asks whoever leads. A leader that is cut off does not hang up: so
// the asking ends, with ErrNotLeader, as soon as this host knows that another one leads,
// or nobody. What was asked may have happened all the same.
func (n *Node) askLeader(ctx context.Context, ask func(context.Context, fsm.HostID) error) error {
	term := n.terms.now.Load()
	leader := n.leader()
	if leader == "" {
		return n.noLeader()
	}
	try, cancel := context.WithTimeout(ctx, forwardTime)
	defer cancel()
	defer context.AfterFunc(term.ctx, cancel)()
	err := ask(try, leader)
	if err == nil || ctx.Err() != nil || try.Err() == nil {
		return err
	}
	if term.ctx.Err() != nil {
		return errors.Join(ErrNotLeader, fmt.Errorf("the leader %s was lost before it answered", leader))
	}
	return errors.Join(ErrNotLeader, fmt.Errorf("the leader %s has not answered for %s", leader, forwardTime))
}
