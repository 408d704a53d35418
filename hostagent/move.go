package hostagent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Carrier brings the volumes of other hosts here.
type Carrier interface {
	// Carry makes a volume here what it is on host from, with all its snapshots
	// and one more that is taken there and called snapshot, if there is none of
	// that name. It returns the bytes that came over the line. zfssync.ErrNotFound:
	// there is no such volume there. ErrHopeless: trying again is of no use.
	Carry(ctx context.Context, from fsm.HostID, volume zfssync.VolumeID, snapshot string, quotaBytes int64) (bytes int64, err error)
}

// ErrHopeless says that a volume cannot be brought here whatever the time.
var ErrHopeless = errors.New("it cannot be moved to this host")

// How long a move is tried before it is given up: while its jail runs by
// attempts, while it does not by the clock.
const (
	moveTries    = 6
	movePatience = time.Minute
)

// mover does this host's part of each move that it takes part in. Its fields
// are owned by run.
type mover struct {
	a     *Agent
	works map[string]chan struct{} // by key; closed when the work has ended
}

// moves follows State until ctx ends: one goroutine a move.
func (a *Agent) moves(ctx context.Context) {
	m := &mover{a: a, works: map[string]chan struct{}{}}
	defer func() {
		for _, done := range m.works {
			<-done
		}
	}()
	a.tellVolumes(ctx)
	for {
		changed := a.c.Cluster.Watch()
		s := a.c.Cluster.State()
		m.dispatch(ctx, s)
		a.homeVolumes(ctx, s)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (m *mover) dispatch(ctx context.Context, s *fsm.State) {
	for key, done := range m.works {
		select {
		case <-done:
			delete(m.works, key)
		default:
		}
	}
	for key, mv := range s.Moves.All {
		if m.works[key] != nil || !m.a.partOf(mv) {
			continue
		}
		done := make(chan struct{})
		m.works[key] = done
		go func() {
			defer close(done)
			m.a.move(ctx, mv.Object(), mv.ID)
		}()
	}
}

// partOf reports whether there is something left to do here for mv.
func (a *Agent) partOf(mv *fsm.Move) bool {
	return mv.From == a.c.Host && !mv.FromClean || mv.To == a.c.Host && !mv.ToClean
}

// move does all that this host has to do for one move.
func (a *Agent) move(ctx context.Context, object string, id uint64) {
	log := a.c.Log.With("move", object, "id", id)
	wait := backoff{first: 200 * time.Millisecond, limit: 10 * time.Second}
	for ctx.Err() == nil {
		mv := a.moveOf(object, id)
		if mv == nil || !a.partOf(mv) {
			return
		}
		var err error
		switch {
		case mv.Phase.Over():
			err = a.cleanMove(ctx, mv)
		case mv.To == a.c.Host && mv.Phase == fsm.MoveAsked:
			err = a.copyMove(ctx, mv)
		case mv.To == a.c.Host && mv.Phase == fsm.MoveStopped:
			err = a.restMove(ctx, mv)
		default:
			err = a.awaitMove(ctx, mv)
		}
		if err == nil {
			wait.reset()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("a step of a move failed, trying again", "phase", string(mv.Phase), "err", err)
		if !sleep(ctx, wait.next()) {
			return
		}
	}
}

func (a *Agent) moveOf(object string, id uint64) *fsm.Move {
	for _, mv := range a.c.Cluster.State().MovesOf(object) {
		if mv.ID == id {
			return mv
		}
	}
	return nil
}

// awaitMove waits until mv has moved on.
func (a *Agent) awaitMove(ctx context.Context, mv *fsm.Move) error {
	_, err := a.c.Cluster.Wait(ctx, func(s *fsm.State) bool {
		for _, now := range s.MovesOf(mv.Object()) {
			if now.ID == mv.ID {
				return now.Phase != mv.Phase
			}
		}
		return true
	})
	return err
}

// during runs do, and ends its context when mv moves on without it: it was
// cancelled, or one of the hosts was lost.
func (a *Agent) during(ctx context.Context, mv *fsm.Move, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		_ = a.awaitMove(ctx, mv) // ends with ctx, or because there is nothing to do any more
		cancel()
	}()
	err := do(ctx)
	if ctx.Err() != nil && err != nil {
		err = nil // whoever looks again sees why
	}
	cancel()
	<-watched
	return err
}

// did tells the cluster what was done. A refusal means that the move went on
// without us: State says where to.
func (a *Agent) did(ctx context.Context, mv *fsm.Move, did fsm.MoveDid, bytes int64, why string) error {
	const most = 4000 // bytes of a reason; the log takes a little more
	if len(why) > most {
		why = why[:most]
	}
	err := a.propose(ctx, fsm.MoveStep{Object: mv.Object(), ID: mv.ID, Host: a.c.Host, Did: did, Bytes: bytes, Why: why})
	if refusal := (*fsm.Refusal)(nil); errors.As(err, &refusal) {
		a.c.Log.Info("a step of a move came too late", "move", mv.Object(), "did", string(did), "err", err)
		return nil
	}
	return err
}

// tellVolumes says which volumes are here that the cluster does not know of.
func (a *Agent) tellVolumes(ctx context.Context) {
	l, err := a.c.Store.List(ctx)
	if err != nil {
		a.c.Log.Warn("the cluster does not hear of the volumes of this host", "err", err)
		return
	}
	s := a.c.Cluster.State()
	for _, id := range l.Volumes {
		if _, known := s.Volumes.Get(string(id)); !known {
			a.tellVolume(ctx, string(id), false)
		}
	}
}

// homeVolumes tells of volumes that jails of this host have made.
func (a *Agent) homeVolumes(ctx context.Context, s *fsm.State) {
	for _, r := range s.RunsOn(a.c.Host) {
		j, ok := s.Jails.Get(string(r.Jail))
		if !ok || r.Phase != fsm.Running || len(j.Spec.Volumes) == 0 {
			continue
		}
		ids, _ := j.Volumes()
		for _, id := range ids {
			if _, known := s.Volumes.Get(id); !known {
				a.tellVolume(ctx, id, false)
			}
		}
	}
}

func (a *Agent) tellVolume(ctx context.Context, id string, gone bool) {
	err := a.propose(ctx, fsm.ReportVolume{Volume: id, Host: a.c.Host, Gone: gone})
	if err != nil && ctx.Err() == nil {
		a.c.Log.Warn("the cluster does not hear of a volume of this host", "volume", id, "gone", gone, "err", err)
	}
}

// movingVolume is the move that a volume takes part in now, nil if it stays.
func (a *Agent) movingVolume(id zfssync.VolumeID) *fsm.Move {
	for _, mv := range a.c.Cluster.State().Moves.All {
		if mv.Active() && slices.Contains(mv.Volumes, string(id)) {
			return mv
		}
	}
	return nil
}

// stays refuses to change a volume that is on its way.
func (a *Agent) stays(id zfssync.VolumeID) error {
	if mv := a.movingVolume(id); mv != nil {
		return fmt.Errorf("volume %s: it is being moved to another host (%s): %w", id, mv.Phase, zfssync.ErrInUse)
	}
	return nil
}
