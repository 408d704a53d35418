package hostagent

import (
	"context"
	"errors"
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// cleanMove removes what an ended move has left here that does not belong
// here. The old copy of a volume is kept until the jail runs at its target,
// which is the end of the move; then it goes.
func (a *Agent) cleanMove(ctx context.Context, mv *fsm.Move) error {
	gone := mv.From == a.c.Host && mv.Phase == fsm.MoveDone || mv.To == a.c.Host && mv.Phase == fsm.MoveFailed
	for _, id := range mv.Volumes {
		var err error
		if gone {
			err = a.dropCopy(ctx, mv, id)
		} else {
			err = a.dropSnapshotsOf(ctx, mv, id)
		}
		if err != nil {
			return fmt.Errorf("tidy up volume %s: %w", id, err)
		}
	}
	if mv.From == a.c.Host && mv.Phase == fsm.MoveDone && mv.Jail != "" {
		if err := a.rootLeft(ctx, mv.Jail); err != nil {
			return err
		}
	}
	if mv.To == a.c.Host {
		if err := a.db.unclaim(ctx, mv.ID); err != nil {
			return err
		}
	}
	return a.did(ctx, mv, fsm.DidClean, 0, "")
}

// dropCopy destroys a volume that is at home elsewhere: at the source the old
// copy, at the target what a move that failed has brought.
func (a *Agent) dropCopy(ctx context.Context, mv *fsm.Move, id string) error {
	if a.c.Carrier == nil {
		return nil
	}
	if mv.To == a.c.Host {
		owner, err := a.db.claimOf(ctx, id)
		if err != nil || owner != mv.ID {
			return err // it is none of this move's
		}
	}
	s := a.c.Cluster.State()
	if v, ok := s.Volumes.Get(id); ok && v.Host == a.c.Host {
		return nil // it has come home meanwhile
	}
	if r := s.LiveRun(mv.Jail); r != nil && r.Host == a.c.Host {
		return nil
	}
	if err := a.snapshots().AbortReceive(ctx, volumeObject(zfssync.VolumeID(id))); err != nil {
		return err
	}
	if !a.hasVolume(ctx, id) {
		return nil
	}
	if err := a.c.Store.DestroyVolume(ctx, zfssync.VolumeID(id)); err != nil {
		return err
	}
	a.c.Log.Info("a copy of a volume is removed: it is at home on another host", "volume", id, "move", mv.ID, "phase", string(mv.Phase))
	return nil
}

func (a *Agent) dropMoveSnapshots(ctx context.Context, mv *fsm.Move) error {
	for _, id := range mv.Volumes {
		if err := a.dropSnapshotsOf(ctx, mv, id); err != nil {
			return fmt.Errorf("drop snapshots of volume %s: %w", id, err)
		}
	}
	return nil
}

func (a *Agent) dropSnapshotsOf(ctx context.Context, mv *fsm.Move, id string) error {
	if a.c.Carrier == nil || !a.hasVolume(ctx, id) {
		return nil
	}
	for n := 1; n <= 2; n++ {
		err := a.snapshots().DropSnapshot(ctx, volumeObject(zfssync.VolumeID(id)), snapshotOfMove(mv, n))
		if err != nil && !errors.Is(err, zfssync.ErrNotFound) {
			return err
		}
	}
	return nil
}

// rootLeft says that the jail's root is still here; its worker removes it.
func (a *Agent) rootLeft(ctx context.Context, name fsm.JailName) error {
	rows, err := a.db.all(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Name == name && r.Image != "" {
			if run := a.c.Cluster.State().LiveRun(name); run != nil && run.Host == a.c.Host {
				return nil // it is back
			}
			return fmt.Errorf("the root of jail %s is not removed yet", name)
		}
	}
	return nil
}
