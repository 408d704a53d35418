package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// wired carries requests between nodes of one process. A node that is cut
// hangs up on nobody: what it is asked is never answered.
type wired struct {
	mu    sync.Mutex
	nodes map[fsm.HostID]*Node // guarded by mu
	cut   fsm.HostID           // guarded by mu
}

func (w *wired) reach(ctx context.Context, to fsm.HostID) (*Node, error) {
	w.mu.Lock()
	cut, n := w.cut, w.nodes[to]
	w.mu.Unlock()
	if cut == to {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return n, nil
}

func (w *wired) Propose(ctx context.Context, to fsm.HostID, e fsm.Entry) (uint64, error) {
	n, err := w.reach(ctx, to)
	if err != nil {
		return 0, err
	}
	a, err := n.ProposeHere(ctx, e)
	return a.Index, err
}

func (w *wired) ReadIndex(ctx context.Context, to fsm.HostID) (uint64, error) {
	n, err := w.reach(ctx, to)
	if err != nil {
		return 0, err
	}
	return n.ReadIndexHere(ctx)
}

func (w *wired) Ping(ctx context.Context, to fsm.HostID, p Ping) (Pong, error) {
	n, err := w.reach(ctx, to)
	if err != nil {
		return Pong{}, err
	}
	return n.Heard("", p), nil
}

// three nodes that vote; the first leads.
func three(t *testing.T, w *wired) map[fsm.HostID]*raft.InmemTransport {
	t.Helper()
	wires := map[fsm.HostID]*raft.InmemTransport{}
	t.TempDir() // the first one's cleanup removes all, so it must be the last to run: nodes write until they have ended
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	for i := range 3 {
		id := fsm.HostID(fmt.Sprintf("h-%d", i))
		_, wire := raft.NewInmemTransport(raft.ServerAddress(id))
		for _, other := range wires {
			wire.Connect(other.LocalAddr(), other)
			other.Connect(wire.LocalAddr(), wire)
		}
		wires[id] = wire
		n, err := tryOpen(t, t.TempDir(), func(c *Config) {
			c.Host, c.Advertise, c.Transport, c.Peers, c.Join = id, string(id), wire, w, i > 0
			c.Heartbeat, c.LeaderWait, c.PingEvery = 200*time.Millisecond, 20*time.Second, time.Second
		})
		if err != nil {
			t.Fatal(err)
		}
		w.nodes[id] = n
		running.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		if i == 0 {
			lead(t, n)
		} else if err := w.nodes["h-0"].raft.AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, 20*time.Second).Error(); err != nil {
			t.Fatal(err)
		}
	}
	return wires
}

// What was carried to a leader that is then cut off goes to the next one when
// there is one, not when the old one has been silent for long.
func TestAProposalThatHangsAtAnOldLeaderGoesToTheNew(t *testing.T) {
	t.Parallel()
	w := &wired{nodes: map[fsm.HostID]*Node{}}
	wires := three(t, w)
	propose(t, w.nodes["h-0"], genesis)
	var old fsm.HostID
	for id, n := range w.nodes {
		if self, _ := n.Leader(); self {
			old = id
		}
	}
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(w.nodes)), func(id fsm.HostID) bool { return id == old })
	w.mu.Lock()
	w.cut = old
	w.mu.Unlock()
	done := make(chan error, 2)
	for i, id := range rest { // both are on their way to the old leader
		go func() {
			_, err := w.nodes[id].Propose(t.Context(), "test", host(i))
			if err == nil {
				_, err = w.nodes[id].WaitConsistent(t.Context())
			}
			done <- err
		}()
	}
	for id, wire := range wires {
		if id == old {
			wire.DisconnectAll()
		} else {
			wire.Disconnect(wires[old].LocalAddr())
		}
	}
	begun := time.Now()
	for range rest {
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		case <-time.After(forwardTime - time.Second):
			t.Fatal("a proposal still hangs at a leader that is no more")
		}
	}
	t.Logf("both were acknowledged after %s", time.Since(begun).Round(time.Millisecond))
}
