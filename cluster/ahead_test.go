package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// plain carries raft over TCP, as the real layer does, without TLS.
type plain struct{ net.Listener }

func (plain) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	_, at, found := strings.Cut(string(to), "@")
	if !found {
		at = string(to)
	}
	return net.DialTimeout("tcp", at, timeout)
}

// stuck is a disk that hangs, or fails, when told to.
type stuck struct {
	mu    sync.Mutex
	hangs chan struct{} // guarded by mu; nil: it works
	err   error         // guarded by mu; what it says in the end
}

func (s *stuck) sync(f *os.File) error {
	s.mu.Lock()
	hangs := s.hangs
	s.mu.Unlock()
	if hangs != nil {
		<-hangs
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err != nil {
			return s.err
		}
	}
	return f.Sync()
}

// hang makes every sync hang until the function that it returns is called, or
// the test ends: nothing could be closed.
func (s *stuck) hang(t *testing.T) (release func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hangs, once := make(chan struct{}), sync.Once{}
	s.hangs = hangs
	release = func(err error) {
		once.Do(func() {
			s.mu.Lock()
			s.hangs, s.err = nil, err
			s.mu.Unlock()
			close(hangs)
		})
	}
	t.Cleanup(func() { release(nil) })
	return release
}

// someFollower waits until one that votes has an entry behind index on disk.
// More cannot be expected: one that is still catching up is sent entry by entry.
func (g *group) someFollower(t *testing.T, index uint64) {
	t.Helper()
	eventually(t, "a follower has it on disk", func() bool {
		for _, n := range g.nodes[1:] {
			last, err := n.store.LastIndex()
			if err == nil && last > index && n.store.Settled() == nil {
				return true
			}
		}
		return false
	})
}

// group is servers that vote, over a real transport; the first leads.
type group struct {
	nodes []*Node
	disks []*stuck
	ended atomic.Pointer[error] // what Fatal of the first was called with
}

func newGroup(t *testing.T, size int) *group {
	t.Helper()
	g := &group{}
	t.TempDir() // the first one's cleanup removes all, so it must be the last to run: nodes write until they have ended
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	for i := range size {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		id, disk := fsm.HostID(fmt.Sprintf("h-%d", i)), &stuck{}
		n, err := tryOpen(t, t.TempDir(), func(c *Config) {
			c.Host, c.Advertise, c.Layer, c.Join, c.syncLog = id, l.Addr().String(), plain{l}, i > 0, disk.sync
			c.Heartbeat, c.HangLimit = 4*time.Second, -1 // nobody loses it on a busy machine
			if i == 0 {
				c.Fatal = func(err error) { g.ended.CompareAndSwap(nil, &err) }
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		g.nodes, g.disks = append(g.nodes, n), append(g.disks, disk)
		running.Go(func() {
			if err := n.Run(ctx); err != nil && g.ended.Load() == nil {
				t.Error(err)
			}
		})
		if i == 0 {
			lead(t, n)
			propose(t, n, genesis)
		} else if err := g.nodes[0].raft.AddVoter(raft.ServerID(id), raft.ServerAddress(n.cfg.Advertise), 0, 30*time.Second).Error(); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// A leader sends entries while its own disk works on them. They count only when
// they are on that, too: else its crash could leave them with one follower
// that has applied them already.
func TestALeaderSendsEarlyButCountsOnlyWhatItHas(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	leader := g.nodes[0]
	propose(t, leader, host(0)) // behind the configurations
	before := leader.State().Index
	release := g.disks[0].hang(t)
	done := make(chan error, 1)
	go func() {
		_, err := leader.Propose(t.Context(), "test", host(1))
		done <- err
	}()
	g.someFollower(t, before)
	select { // its answer is there by then, and the leader has told all several times what is committed
	case err := <-done:
		t.Fatalf("it was answered (%v) while the leader's disk hung", err)
	case <-time.After(150 * time.Millisecond):
	}
	for i, n := range g.nodes {
		if at := n.State().Index; at > before {
			t.Errorf("host %d has applied entry %d, which the leader's disk does not have", i, at)
		}
	}
	release(nil)
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it was never answered")
	}
}

// Alone, nobody's answer can be waited for.
func TestALoneLeaderDoesNotRunAhead(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	n := g.nodes[0]
	before := n.State().Index
	release := g.disks[0].hang(t)
	done := make(chan error, 1)
	go func() {
		_, err := n.Propose(t.Context(), "test", host(1))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it was answered (%v) while the disk hung", err)
	case <-time.After(50 * time.Millisecond):
	}
	if at := n.State().Index; at != before {
		t.Errorf("entry %d was applied before it was durable", at)
	}
	release(nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestALeaderWhoseDiskFailsEnds(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	leader := g.nodes[0]
	propose(t, leader, host(0)) // behind the configurations
	before := leader.State().Index
	release := g.disks[0].hang(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := leader.Propose(ctx, "test", host(1))
		done <- err
	}()
	broken := errors.New("broken")
	g.someFollower(t, before)
	release(broken)
	eventually(t, "the process ends", func() bool { return g.ended.Load() != nil })
	if err := *g.ended.Load(); !errors.Is(err, broken) {
		t.Errorf("it ended with %v, want what the disk said", err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("what the leader's disk does not have was acknowledged")
	}
	if at := leader.State().Index; at != before {
		t.Errorf("the leader has applied entry %d", at)
	}
}
