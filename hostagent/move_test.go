package hostagent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// scripted plays the storage of the other host.
type scripted struct {
	mu    sync.Mutex
	calls []string                                  // guarded by mu; names of the snapshots
	do    func(ctx context.Context, call int) error // call counts from 1
}

func (c *scripted) Carry(ctx context.Context, _ fsm.HostID, _ zfssync.VolumeID, snapshot string, _ int64) (int64, error) {
	c.mu.Lock()
	c.calls = append(c.calls, snapshot)
	n := len(c.calls)
	c.mu.Unlock()
	return 1000, c.do(ctx, n)
}

func (c *scripted) called() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

const movedVolume = "demo.web.data"

// moving is a world whose host h1 shall get web, with its volume, from h2.
func moving(t *testing.T, do func(ctx context.Context, call int) error) (*world, *scripted) {
	t.Helper()
	w := newWorld(t, nil)
	c := &scripted{do: do}
	w.carrier = c
	w.host()
	w.propose(fsm.RegisterHost{Host: fsm.Host{ID: "h2", Name: "host2", Role: "server", OS: "linux", Arch: "amd64", Runtime: "sim", Version: "1"}})
	wish, err := stage.ParseWish("demo", "web image=base volume=data")
	if err != nil {
		t.Fatal(err)
	}
	wish.Jails[0].Command = []string{"/bin/web"}
	w.propose(fsm.ApplyWish{Wish: wish})
	w.propose(fsm.PlaceJail{Jail: "web", Host: "h2", Seq: 1, Why: "test"})
	w.propose(fsm.ReportRun{Jail: "web", Host: "h2", Seq: 1, Phase: fsm.Running, Health: fsm.HealthHealthy})
	w.propose(fsm.ReportVolume{Volume: movedVolume, Host: "h2"})
	return w, c
}

func lastMove(s *fsm.State) *fsm.Move {
	all := s.MovesOf("web")
	if len(all) == 0 {
		return &fsm.Move{}
	}
	return all[len(all)-1]
}

func moveIs(p fsm.MovePhase) func(*fsm.State) bool {
	return func(s *fsm.State) bool { return lastMove(s).Phase == p }
}

func (w *world) stopped() { // the source does its part
	w.t.Helper()
	w.propose(fsm.ReportRun{Jail: "web", Host: "h2", Seq: 1, Phase: fsm.Stopped})
}

func TestAMoveThatCannotBeCopiedLeavesTheJailAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		own  bool // the host has such a volume
		want string
	}{
		"no space":            {fmt.Errorf("receive: %w", zfssync.ErrNoSpace), false, "no space left"},
		"another storage":     {fmt.Errorf("it is zfs: %w", ErrHopeless), false, "it is zfs"},
		"a volume of its own": {nil, true, "of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := moving(t, func(context.Context, int) error { return c.err })
			if c.own {
				w.volumes = []zfssync.VolumeID{movedVolume} // destroying it is an error
			}
			defer w.live()()
			w.propose(fsm.MoveJail{Jail: "web", To: "h1"})
			w.await("given up and tidied up", func(s *fsm.State) bool { return lastMove(s).Phase == fsm.MoveFailed && lastMove(s).ToClean })
			m, r := lastMove(w.log.State()), w.log.State().LiveRun("web")
			if !strings.Contains(m.Error, c.want) || r == nil || r.Host != "h2" || r.StopWhy != "" {
				t.Errorf("the move says %q, want %q; the run is %+v", m.Error, c.want, r)
			}
		})
	}
}

// TestAMoveGoesOnAfterAKillAtAnyCall: the first copy, the rest; a call that
// failed is tried again, one in which the agent died is done again by the next.
func TestAMoveGoesOnAfterAKillAtAnyCall(t *testing.T) {
	t.Parallel()
	for kill := 0; kill <= 2; kill++ {
		t.Run(fmt.Sprint("call ", kill), func(t *testing.T) {
			t.Parallel()
			var w *world
			killed := make(chan struct{})
			w, c := moving(t, func(ctx context.Context, call int) error {
				if call == kill {
					w.stop()
					close(killed)
					return ctx.Err()
				}
				if kill == 0 && call == 1 {
					return errors.New("the line is bad")
				}
				return nil
			})
			end := w.live()
			next := func() {
				<-killed
				end()
				end = w.live()
			}
			w.propose(fsm.MoveJail{Jail: "web", To: "h1"})
			if kill == 1 {
				next()
			}
			w.await("copied", moveIs(fsm.MoveCopied))
			if r := w.log.State().LiveRun("web"); r == nil || r.Host != "h2" || r.StopWhy == "" {
				t.Errorf("after the first copy the run is %+v", r)
			}
			for _, s := range c.called() {
				if !strings.HasSuffix(s, "-1") {
					t.Errorf("before the jail had stopped the snapshots %v were taken", c.called())
				}
			}
			w.stopped()
			if kill == 2 {
				next()
			}
			defer func() { end() }()
			w.await("it runs here", healthy(2))
			w.await("tidied up here", func(s *fsm.State) bool { return lastMove(s).Phase == fsm.MoveDone && lastMove(s).ToClean })
			if r := w.log.State().LiveRun("web"); r.Host != "h1" || !strings.HasSuffix(c.called()[len(c.called())-1], "-2") {
				t.Errorf("it runs on %s, after the snapshots %v", r.Host, c.called())
			}
		})
	}
}

func TestACancelledMoveEndsItsCopy(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan error, 1)
	w, _ := moving(t, func(ctx context.Context, _ int) error {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	})
	defer w.live()()
	w.propose(fsm.MoveJail{Jail: "web", To: "h1"})
	<-begun
	w.propose(fsm.CancelMove{Object: "web"})
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the copy ended with %v", err)
	}
	w.await("tidied up", func(s *fsm.State) bool { return lastMove(s).Phase == fsm.MoveFailed && lastMove(s).ToClean })
	if r := w.log.State().LiveRun("web"); r == nil || r.Host != "h2" || r.StopWhy != "" {
		t.Errorf("the run is %+v", r)
	}
}

// TestTheSourceOfAMoveKeepsNothing: its own volume goes when the jail runs
// elsewhere, and not before.
func TestTheSourceOfAMoveKeepsNothing(t *testing.T) {
	t.Parallel()
	w, _ := moving(t, func(context.Context, int) error { return nil })
	end := w.live()
	w.propose(fsm.MoveJail{Jail: "web", To: "h1"})
	w.await("copied", moveIs(fsm.MoveCopied))
	w.stopped()
	w.await("it runs here", healthy(2))
	w.propose(fsm.MoveStep{Object: "web", ID: lastMove(w.log.State()).ID, Host: "h2", Did: fsm.DidClean})
	w.await("tidied up", func(s *fsm.State) bool { return lastMove(s).ToClean })
	defer func() { end() }()

	w.propose(fsm.MoveJail{Jail: "web", To: "h2"}) // and back: now this host is the source
	id := lastMove(w.log.State()).ID
	w.propose(fsm.MoveStep{Object: "web", ID: id, Host: "h2", Did: fsm.DidCopy})
	w.await("stopped here", moveIs(fsm.MoveStopped))
	if l, err := w.store.List(t.Context()); err != nil || len(l.Clones) != 1 {
		t.Errorf("before it runs elsewhere the host has %+v, %v", l, err)
	}
	w.propose(fsm.MoveStep{Object: "web", ID: id, Host: "h2", Did: fsm.DidReady})
	w.propose(fsm.ReportRun{Jail: "web", Host: "h2", Seq: 3, Phase: fsm.Running})
	w.await("tidied up here", func(s *fsm.State) bool { return lastMove(s).FromClean })
	if l, err := w.store.List(t.Context()); err != nil || len(l.Clones) != 0 {
		t.Errorf("the jail's root is still here: %+v, %v", l, err)
	}
}
