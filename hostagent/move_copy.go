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

// snapshotOfMove is the name of the n-th snapshot that a move takes at its
// source. Peers may take those that begin with sync-.
func snapshotOfMove(mv *fsm.Move, n int) string { return fmt.Sprintf("sync-move-%d-%d", mv.ID, n) }

// copyMove brings the image and a first copy of the volumes while the jail
// runs. What cannot be done ends the move: the jail never notices.
func (a *Agent) copyMove(ctx context.Context, mv *fsm.Move) error {
	return a.during(ctx, mv, func(ctx context.Context) error {
		wait := backoff{first: 500 * time.Millisecond, limit: 10 * time.Second}
		for try := 1; ; try++ {
			bytes, err := a.copyOnce(ctx, mv)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil && mv.Jail == "":
				return a.did(ctx, mv, fsm.DidReady, bytes, "")
			case err == nil:
				return a.did(ctx, mv, fsm.DidCopy, bytes, "")
			case hopeless(err) || try == moveTries:
				a.c.Log.Error("a move is given up, nothing was changed", "move", mv.Object(), "err", err)
				return a.did(ctx, mv, fsm.DidFail, 0, err.Error())
			}
			a.c.Log.Warn("a move cannot be copied yet, trying again", "move", mv.Object(), "try", try, "err", err)
			if !sleep(ctx, wait.next()) {
				return ctx.Err()
			}
		}
	})
}

func hopeless(err error) bool {
	return errors.Is(err, ErrHopeless) || errors.Is(err, zfssync.ErrNoSpace) || errors.Is(err, zfssync.ErrFormat)
}

func (a *Agent) copyOnce(ctx context.Context, mv *fsm.Move) (int64, error) {
	if err := a.claimVolumes(ctx, mv); err != nil {
		return 0, err
	}
	if mv.Jail != "" {
		if err := a.moveImage(ctx, mv.Jail); err != nil {
			return 0, err
		}
	}
	return a.carryAll(ctx, mv, 1)
}

// moveImage makes the image of the jail's next Run be here.
func (a *Agent) moveImage(ctx context.Context, name fsm.JailName) error {
	s := a.c.Cluster.State()
	j, ok := s.Jails.Get(string(name))
	if !ok || j.Want != fsm.WantRunning || j.Spec.ImageKey == "" {
		return nil
	}
	if a.features.Simulated {
		return a.copy(ctx, j.Spec.ImageKey)
	}
	return a.fetch(ctx, j.Spec.Image, j.Spec.ImageKey)
}

// carryAll brings each volume with its n-th snapshot.
func (a *Agent) carryAll(ctx context.Context, mv *fsm.Move, n int) (total int64, err error) {
	if a.c.Carrier == nil {
		return 0, nil // what is simulated has nothing in it
	}
	for i, id := range mv.Volumes {
		var quota int64
		if i < len(mv.Quotas) {
			quota = mv.Quotas[i]
		}
		bytes, err := a.c.Carrier.Carry(ctx, mv.From, zfssync.VolumeID(id), snapshotOfMove(mv, n), quota)
		if errors.Is(err, zfssync.ErrNotFound) && mv.Jail != "" && !a.hasVolume(ctx, id) {
			continue // it was declared and never made: it begins empty, there as here
		}
		if err != nil {
			return total, fmt.Errorf("bring volume %s: %w", id, err)
		}
		total += bytes
	}
	return total, nil
}

// restMove brings what changed until the jail had stopped. It does not run
// meanwhile, so after movePatience it starts where it was.
func (a *Agent) restMove(ctx context.Context, mv *fsm.Move) error {
	return a.during(ctx, mv, func(ctx context.Context) error {
		end := time.NewTimer(movePatience)
		defer end.Stop()
		wait := backoff{first: 100 * time.Millisecond, limit: 2 * time.Second}
		for {
			bytes, err := a.restOnce(ctx, mv)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil:
				return a.did(ctx, mv, fsm.DidReady, bytes, "")
			case hopeless(err):
				return a.did(ctx, mv, fsm.DidFail, 0, err.Error())
			}
			a.c.Log.Warn("the rest of a move is not here yet, trying again", "move", mv.Object(), "err", err)
			select {
			case <-end.C:
				return a.did(ctx, mv, fsm.DidFail, 0, fmt.Sprintf("the rest did not come within %v: %v", movePatience, err))
			case <-time.After(wait.next()):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

func (a *Agent) restOnce(ctx context.Context, mv *fsm.Move) (int64, error) {
	bytes, err := a.carryAll(ctx, mv, 2)
	if err != nil || a.c.Carrier == nil {
		return bytes, err
	}
	if a.c.Store.Features().Increments {
		return bytes, nil // a received snapshot is the volume
	}
	// Where a snapshot is a copy, the newest one becomes the volume when it is
	// dropped, at the cost of a rename; used as it is, it would be copied once
	// more while nothing runs. A kill after this fetches all of it again.
	return bytes, a.dropMoveSnapshots(ctx, mv)
}

// claimVolumes makes sure that volumes of these names here are this move's own
// work, and no other data that it would overwrite.
func (a *Agent) claimVolumes(ctx context.Context, mv *fsm.Move) error {
	for _, id := range mv.Volumes {
		owner, err := a.db.claimOf(ctx, id)
		if err != nil {
			return err
		}
		if owner == mv.ID {
			continue
		}
		if a.hasVolume(ctx, id) {
			return fmt.Errorf("this host has a volume %s of its own: rexctl volume rm %s there first: %w", id, id, ErrHopeless)
		}
		if err := a.db.claim(ctx, id, mv.ID); err != nil {
			return err
		}
	}
	return nil
}

// hasVolume reports whether there is a volume of that id here; when that
// cannot be told there may be one.
func (a *Agent) hasVolume(ctx context.Context, id string) bool {
	l, err := a.c.Store.List(ctx)
	return err != nil || slices.Contains(l.Volumes, zfssync.VolumeID(id))
}
