package hostagent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// beforePrefix is how the names of snapshots begin that the agent takes by
// itself; those of users stay whatever they are called.
const beforePrefix = "before-run-"

// keptBefore is how many of them a volume keeps.
const keptBefore = 10

func asksSnapshot(v spec.Volume) bool { return v.Snapshot && v.Source == "" }

// snapshotBeforeChange takes a snapshot of each volume that asks for one, if
// the jail is about to start with something else than it ran with last. It
// can be repeated: the name says which Run it is for.
func (w *worker) snapshotBeforeChange(ctx context.Context, want Want) error {
	if !slices.ContainsFunc(want.Jail.Spec.Volumes, asksSnapshot) {
		return nil
	}
	last, err := w.a.db.lastStarted(ctx, w.row.UUID)
	if err != nil || last == want.Run.Hash {
		return err
	}
	l, err := w.a.c.Store.List(ctx)
	if err != nil {
		return fmt.Errorf("snapshot before the change of jail %s: %w", w.row.Name, err)
	}
	for _, v := range want.Jail.Spec.Volumes {
		id := VolumeOf(want.Jail.Wish, want.Jail.Spec.Name, v.Name)
		if !asksSnapshot(v) || !slices.Contains(l.Volumes, id) { // a new volume holds nothing yet
			continue
		}
		name := fmt.Sprintf("%s%d-%s", beforePrefix, want.Run.Seq, shortID(w.row.UUID))
		if _, err := w.a.snapshots().TakeSnapshot(ctx, volumeObject(id), name); err != nil {
			return fmt.Errorf("snapshot volume %s before the change of jail %s: %w", v.Name, w.row.Name, err)
		}
		w.log.Info("volume snapshot taken before a change", "volume", string(id), "snapshot", name)
		if err := w.pruneBefore(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// pruneBefore drops the oldest of the snapshots that were taken like this.
func (w *worker) pruneBefore(ctx context.Context, id zfssync.VolumeID) error {
	all, err := w.a.snapshots().Snapshots(ctx, volumeObject(id))
	if err != nil {
		return fmt.Errorf("snapshots of volume %s: %w", id, err)
	}
	own := slices.DeleteFunc(all, func(s zfssync.Snapshot) bool { return !strings.HasPrefix(s.Name, beforePrefix) })
	for len(own) > keptBefore {
		if err := w.a.snapshots().DropSnapshot(ctx, volumeObject(id), own[0].Name); err != nil {
			return fmt.Errorf("drop old snapshot %s of volume %s: %w", own[0].Name, id, err)
		}
		own = own[1:]
	}
	return nil
}
