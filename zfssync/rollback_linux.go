package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Rollback implements Streams.
func (o *Overlay) Rollback(ctx context.Context, obj Object, name string, opt RollbackOptions) error {
	if err := errors.Join(obj.check(), checkName("snapshot", name)); err != nil {
		return err
	}
	unlock, err := o.keys.lock(ctx, obj.lockName())
	if err != nil {
		return err
	}
	defer unlock()
	if err := o.rollback(ctx, obj, name, opt); err != nil {
		return fmt.Errorf("roll %s back to snapshot %s: %w", obj, name, noSpace(err))
	}
	return nil
}

func (o *Overlay) rollback(ctx context.Context, obj Object, name string, opt RollbackOptions) error {
	list, err := o.readSnaps(obj)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(s namedSnap) bool { return s.name == name })
	if i < 0 {
		return fmt.Errorf("there is no such snapshot: %w", ErrNotFound)
	}
	later := list[i+1:]
	if len(later) > 0 && !opt.DropLater {
		return fmt.Errorf("%d would be destroyed, the newest is %s: %w", len(later), later[len(later)-1].name, ErrLaterSnapshots)
	}
	if err := o.unused(obj); err != nil {
		return err
	}
	for _, s := range later {
		if o.heldSnaps.has(o.snap(obj, s.name)) {
			return fmt.Errorf("snapshot %s is being sent or held: %w", s.name, ErrInUse)
		}
	}
	if err := o.setHead(obj, name); err != nil { // from here on it is rolled back, whatever comes
		return err
	}
	if err := o.point("rolled back"); err != nil {
		return err
	}
	for _, s := range slices.Backward(later) {
		if err := o.discard(o.snap(obj, s.name)); err != nil {
			return err
		}
	}
	return o.materialize(ctx, obj)
}

// unused returns ErrInUse while a jail sees obj.
func (o *Overlay) unused(obj Object) error {
	at := ""
	var err error
	switch obj.Kind {
	case KindVolume:
		at, err = o.boundAt(VolumeID(obj.Name))
	case KindJail:
		var mounted bool
		if mounted, err = isMounted(o.root(obj.Name)); mounted {
			at = o.root(obj.Name)
		}
	}
	if err == nil && at != "" {
		err = fmt.Errorf("it is mounted at %s, stop the jail first: %w", at, ErrInUse)
	}
	return err
}

// materialize makes the live directory from the head, if there is one. Killed before its end it begins anew.
func (o *Overlay) materialize(ctx context.Context, obj Object) error {
	head, err := o.head(obj)
	if err != nil || head == "" {
		return err
	}
	disk, err := o.wantsDisk(obj)
	if err != nil {
		return err
	}
	if disk {
		return o.materializeDisk(ctx, VolumeID(obj.Name), filepath.Join(o.snap(obj, head), "data"))
	}
	return o.staged("head-", func(dir string) error {
		if err := copyExact(ctx, filepath.Join(o.snap(obj, head), "data"), dir, false); err != nil {
			return err
		}
		if err := o.point("head copied"); err != nil {
			return err
		}
		if err := syncFS(dir); err != nil {
			return err
		}
		if err := o.replaceLive(obj, dir); err != nil {
			return err
		}
		if err := o.point("head in place"); err != nil {
			return err
		}
		return o.setHead(obj, "")
	})
}

// wantsDisk reports whether obj is a volume that is to be a disk.
func (o *Overlay) wantsDisk(obj Object) (bool, error) {
	if obj.Kind != KindVolume || !o.feat.Quota {
		return false, nil
	}
	rec, err := o.volumeRecord(VolumeID(obj.Name))
	return rec.QuotaBytes > 0, err
}

func (o *Overlay) materializeDisk(ctx context.Context, id VolumeID, from string) error {
	rec, err := o.volumeRecord(id)
	if err != nil {
		return err
	}
	if err := o.remake(ctx, id, rec.QuotaBytes, from); err != nil {
		return err
	}
	return o.recordVolume(id, func(r *volumeRecord) { r.Head, r.Disk = "", r.QuotaBytes })
}

// replaceLive puts the directory from in the place of the live one.
func (o *Overlay) replaceLive(obj Object, from string) error {
	if id := VolumeID(obj.Name); obj.Kind == KindVolume && o.hasDisk(id) { // its quota was taken away
		plain := filepath.Join(o.volume(id), "data")
		return errors.Join(o.discard(plain), os.Rename(from, plain), o.dropDisk(id))
	}
	live := o.liveDir(obj)
	if obj.Kind == KindJail { // what overlayfs keeps beside it belongs to the old one
		if err := o.discard(filepath.Dir(live)); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Dir(live), 0o700); err != nil {
			return err
		}
	}
	return exchange(from, live)
}

// exchange puts the directory from in the place of to, and what was there in from's.
func exchange(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		err = os.Rename(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: from, New: to, Err: err}
	}
	return nil
}
