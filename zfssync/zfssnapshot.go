package zfssync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// sets are the datasets of an object: one, but for a layer that came from several hosts.
func (s *ZFS) sets(obj Object) []string {
	var all []string
	switch obj.Kind {
	case KindLayer:
		all = s.variants(strings.TrimPrefix(obj.Name, keyPrefix))
	case KindVolume, KindJail:
		all = []string{s.ds(string(obj.Kind), obj.Name)}
	}
	return slices.DeleteFunc(all, func(ds string) bool { return s.own(ds) == nil })
}

// Snapshots implements Streams.
func (s *ZFS) Snapshots(ctx context.Context, obj Object) ([]Snapshot, error) {
	if err := errors.Join(obj.check(), ctx.Err()); err != nil {
		return nil, err
	}
	var out []Snapshot
	for _, ds := range s.sets(obj) {
		set := s.own(ds)
		for _, snap := range s.snapsOf(ds) {
			d := Snapshot{
				Object: obj, Name: snap.name, GUID: snap.guid, CreatedAt: snap.set.created(), Bytes: snap.set.number("referenced"),
				Format: FormatZFS, Origin: s.originGUID(ds), Base: set.local(propBase), Image: set.local(propImage),
			}
			if d.Layer = set.local(propParent); obj.Kind == KindJail {
				d.Layer = set.local(propLayer)
			}
			out = append(out, d)
		}
	}
	return out, nil
}

// snapshot returns the full name of a snapshot of obj, "" for the newest; guid, when it is not "", chooses among equals.
func (s *ZFS) snapshot(obj Object, name, guid string) (zsnap, error) {
	for _, ds := range s.sets(obj) {
		for _, snap := range slices.Backward(s.snapsOf(ds)) {
			if (name == "" || snap.name == name) && (guid == "" || guid == s.originGUID(ds) || obj.Kind != KindLayer) {
				return snap, nil
			}
		}
	}
	_, err := snapshotOf(nil, obj, name)
	return zsnap{}, err
}

// TakeSnapshot implements Streams.
func (s *ZFS) TakeSnapshot(ctx context.Context, obj Object, name string) (Snapshot, error) {
	if err := errors.Join(obj.check(), checkName("snapshot", name)); err != nil {
		return Snapshot{}, err
	}
	if obj.Kind == KindLayer {
		return Snapshot{}, fmt.Errorf("snapshot of %s: a layer has its only one", obj)
	}
	unlock, err := s.keys.lock(ctx, obj.lockName())
	if err != nil {
		return Snapshot{}, err
	}
	defer unlock()
	ds := s.ds(string(obj.Kind), obj.Name)
	if s.own(ds) == nil {
		return Snapshot{}, fmt.Errorf("take snapshot %s of %s: %w", name, obj, ErrNotFound)
	}
	if err := s.z.snapshot(ctx, ds+"@"+name); err != nil && !errors.Is(err, errExists) {
		return Snapshot{}, fmt.Errorf("take snapshot %s of %s: %w", name, obj, err)
	}
	if err := s.refresh(ctx, ds); err != nil {
		return Snapshot{}, err
	}
	list, err := s.Snapshots(ctx, obj)
	if err != nil {
		return Snapshot{}, err
	}
	return snapshotOf(list, obj, name)
}

// DropSnapshot implements Streams.
func (s *ZFS) DropSnapshot(ctx context.Context, obj Object, name string) error {
	if err := errors.Join(obj.check(), checkName("snapshot", name)); err != nil {
		return err
	}
	if obj.Kind == KindLayer {
		return fmt.Errorf("drop snapshot of %s: it is the layer itself: %w", obj, ErrInUse)
	}
	unlock, err := s.keys.lock(ctx, obj.lockName())
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.dropSnapshot(ctx, s.ds(string(obj.Kind), obj.Name), name); err != nil {
		return fmt.Errorf("drop snapshot %s of %s: %w", name, obj, err)
	}
	return nil
}

func (s *ZFS) dropSnapshot(ctx context.Context, ds, name string) error {
	full := ds + "@" + name
	if s.heldSnaps.has(full) {
		return fmt.Errorf("it is being sent or held: %w", ErrInUse)
	}
	err := s.confirm(ctx, ds)
	if errors.Is(err, ErrNotFound) || err == nil && s.known(full) == nil {
		return nil
	}
	if err != nil {
		return err
	}
	// A hold of ours that nobody here knows is that of a predecessor that died while it was sending.
	if err := s.z.release(ctx, full); err != nil {
		return err
	}
	if err := s.z.destroy(ctx, full); err != nil {
		return err
	}
	s.forget(full)
	return nil
}

// Rollback implements Streams.
func (s *ZFS) Rollback(ctx context.Context, obj Object, name string, opt RollbackOptions) error {
	if err := errors.Join(obj.check(), checkName("snapshot", name)); err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, obj.lockName())
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.rollback(ctx, obj, name, opt); err != nil {
		return fmt.Errorf("roll %s back to snapshot %s: %w", obj, name, noSpace(err))
	}
	return nil
}

func (s *ZFS) rollback(ctx context.Context, obj Object, name string, opt RollbackOptions) error {
	ds := s.ds(string(obj.Kind), obj.Name)
	if obj.Kind == KindLayer {
		return errors.New("a layer does not change")
	}
	if err := s.confirm(ctx, ds); err != nil {
		return err
	}
	list := s.snapsOf(ds)
	i := slices.IndexFunc(list, func(z zsnap) bool { return z.name == name })
	if i < 0 {
		return fmt.Errorf("there is no such snapshot: %w", ErrNotFound)
	}
	later := list[i+1:]
	if len(later) > 0 && !opt.DropLater {
		return fmt.Errorf("%d would be destroyed, the newest is %s: %w", len(later), later[len(later)-1].name, ErrLaterSnapshots)
	}
	if err := s.unused(obj); err != nil {
		return err
	}
	if err := s.mnt.unmount(s.at(string(obj.Kind), obj.Name)); err != nil {
		return err
	}
	for _, snap := range slices.Backward(later) {
		if err := s.dropSnapshot(ctx, ds, snap.name); err != nil {
			return err
		}
	}
	return s.rollbackTo(ctx, ds, name)
}

// rollbackTo rolls back to the newest snapshot. zfs-fuse says "I/O error" while it is still taking an unmounted file
// system down.
func (s *ZFS) rollbackTo(ctx context.Context, ds, name string) error {
	err := s.z.patient(ctx, func() error {
		_, err := s.z.do(ctx, "rollback", ds+"@"+name)
		if errors.Is(err, errIO) {
			err = fmt.Errorf("%w: %w", errBusy, err)
		}
		return err
	})
	return errors.Join(err, s.reread(ctx, ds))
}

// HoldSnapshot implements Streams.
func (s *ZFS) HoldSnapshot(ctx context.Context, obj Object, name string) (func(), error) {
	if err := obj.check(); err != nil {
		return nil, err
	}
	snap, err := s.snapshot(obj, name, "")
	if err != nil {
		return nil, fmt.Errorf("hold: %w", err)
	}
	return s.holdSnap(ctx, obj, snap)
}

// holdSnap holds in the pool too: against whoever else works on it.
func (s *ZFS) holdSnap(ctx context.Context, obj Object, snap zsnap) (func(), error) {
	let := s.heldSnaps.hold(snap.full)
	if err := s.z.hold(ctx, snap.full); err != nil {
		let()
		return nil, fmt.Errorf("hold snapshot %s of %s: %w", snap.name, obj, err)
	}
	return sync.OnceFunc(func() {
		let()
		if s.heldSnaps.has(snap.full) {
			return
		}
		// The caller's ctx may be over, and the hold must not stay.
		ctx, cancel := context.WithTimeout(context.Background(), zfsTime)
		defer cancel()
		if err := s.z.release(ctx, snap.full); err != nil {
			s.log.Warn("hold of a snapshot stays until it is dropped", "snapshot", snap.full, "err", err)
		}
	}), nil
}
