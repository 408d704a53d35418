package hostagent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Volume is one volume of this host and what State says of it.
type Volume struct {
	zfssync.VolumeInfo
	Wish, Jail, Name string // "" where the id is not one of ours
	Path             string // in the jail; "" when no wish declares it any more
	Declared         bool
	Snapshots        []zfssync.Snapshot // oldest first
}

// VolumeOf is the id of a jail's own volume. A volume outlives the jail, so
// what names it is what the user calls it, not the jail's uuid.
func VolumeOf(wish, jail, volume string) zfssync.VolumeID {
	return zfssync.VolumeID(strings.Join([]string{wish, jail, volume}, "."))
}

// countTime bounds how long the bytes of all volumes are counted for a list.
const countTime = 2 * time.Second

// Volumes lists the volumes of this host. The bytes of large ones may be
// unknown (-1); Volume counts them to the end.
func (a *Agent) Volumes(ctx context.Context) ([]Volume, error) {
	l, err := a.c.Store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	counting, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	out := make([]Volume, 0, len(l.Volumes))
	for _, id := range l.Volumes {
		v, err := a.describe(ctx, counting, id)
		if errors.Is(err, zfssync.ErrNotFound) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Volume describes one; zfssync.ErrNotFound.
func (a *Agent) Volume(ctx context.Context, id zfssync.VolumeID) (Volume, error) {
	l, err := a.c.Store.List(ctx)
	if err != nil {
		return Volume{}, fmt.Errorf("volume %s: %w", id, err)
	}
	if !slices.Contains(l.Volumes, id) {
		return Volume{}, fmt.Errorf("volume %s: %w", id, zfssync.ErrNotFound)
	}
	return a.describe(ctx, ctx, id)
}

func (a *Agent) describe(ctx, counting context.Context, id zfssync.VolumeID) (Volume, error) {
	v := Volume{VolumeInfo: zfssync.VolumeInfo{ID: id, Bytes: -1}}
	var err error
	switch v.VolumeInfo, err = a.c.Store.VolumeInfo(counting, id); {
	case err == nil:
	case counting.Err() != nil && ctx.Err() == nil:
		v.VolumeInfo = zfssync.VolumeInfo{ID: id, Bytes: -1, QuotaKept: a.c.Store.Features().Quota} // slow storage: the rest of the list is worth more
	default:
		return v, err
	}
	if v.Snapshots, err = a.snapshots().Snapshots(ctx, volumeObject(id)); err != nil {
		return v, fmt.Errorf("snapshots of volume %s: %w", id, err)
	}
	parts := strings.Split(string(id), ".")
	if len(parts) != 3 {
		return v, nil
	}
	v.Wish, v.Jail, v.Name = parts[0], parts[1], parts[2]
	j, ok := a.c.Cluster.State().Jails.Get(v.Jail)
	if !ok || j.Wish != v.Wish || j.Want == fsm.WantGone {
		return v, nil
	}
	i := slices.IndexFunc(j.Spec.Volumes, func(w spec.Volume) bool { return w.Name == v.Name && w.Source == "" })
	if i >= 0 {
		v.Declared, v.Path = true, j.Spec.Volumes[i].Path
	}
	return v, nil
}

// snapshots is the part of the store that takes them; every store has it.
func (a *Agent) snapshots() zfssync.Streams { return a.c.Store.(zfssync.Streams) }

func volumeObject(id zfssync.VolumeID) zfssync.Object {
	return zfssync.Object{Kind: zfssync.KindVolume, Name: string(id)}
}

// SnapshotVolume makes a snapshot, or returns the one of that name. steady
// says that it shows one moment: the storage can do that, or no jail had the
// volume.
func (a *Agent) SnapshotVolume(ctx context.Context, id zfssync.VolumeID, name string) (snap zfssync.Snapshot, steady bool, err error) {
	v, err := a.Volume(ctx, id)
	if err != nil {
		return snap, false, err
	}
	if snap, err = a.snapshots().TakeSnapshot(ctx, volumeObject(id), name); err != nil {
		return snap, false, fmt.Errorf("snapshot volume %s: %w", id, err)
	}
	a.c.Log.Info("volume snapshot taken", "volume", string(id), "snapshot", name)
	return snap, !v.InUse || a.c.Store.Features().Atomic, nil
}

// DropVolumeSnapshot removes a snapshot; zfssync.ErrNotFound, ErrInUse.
func (a *Agent) DropVolumeSnapshot(ctx context.Context, id zfssync.VolumeID, name string) error {
	if err := a.hasSnapshot(ctx, id, name); err != nil {
		return err
	}
	if err := a.snapshots().DropSnapshot(ctx, volumeObject(id), name); err != nil {
		return fmt.Errorf("remove snapshot %s of volume %s: %w", name, id, err)
	}
	a.c.Log.Info("volume snapshot removed", "volume", string(id), "snapshot", name)
	return nil
}

func (a *Agent) hasSnapshot(ctx context.Context, id zfssync.VolumeID, name string) error {
	v, err := a.Volume(ctx, id)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(v.Snapshots, func(s zfssync.Snapshot) bool { return s.Name == name }) {
		return fmt.Errorf("snapshot %s of volume %s: %w", name, id, zfssync.ErrNotFound)
	}
	return nil
}

// RollbackVolume makes a volume what it was. zfssync.ErrInUse while a jail
// has it; ErrLaterSnapshots when newer ones would go and dropLater does not
// allow it.
func (a *Agent) RollbackVolume(ctx context.Context, id zfssync.VolumeID, name string, dropLater bool) error {
	if err := errors.Join(a.stays(id), a.hasSnapshot(ctx, id, name)); err != nil {
		return err
	}
	err := a.snapshots().Rollback(ctx, volumeObject(id), name, zfssync.RollbackOptions{DropLater: dropLater})
	if err != nil {
		return err // says it all
	}
	a.c.Log.Info("volume rolled back", "volume", string(id), "snapshot", name)
	return nil
}

// RemoveVolume removes a volume with all its snapshots; zfssync.ErrInUse
// while a jail has it.
func (a *Agent) RemoveVolume(ctx context.Context, id zfssync.VolumeID) error {
	if _, err := a.Volume(ctx, id); err != nil {
		return err
	}
	if err := a.stays(id); err != nil {
		return err
	}
	if err := a.c.Store.DestroyVolume(ctx, id); err != nil {
		return fmt.Errorf("remove volume %s: %w", id, err)
	}
	a.tellVolume(ctx, string(id), true)
	a.c.Log.Info("volume removed", "volume", string(id))
	return nil
}
