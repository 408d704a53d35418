package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// volumeRecord is volumes/<id>/volume.json.
type volumeRecord struct {
	QuotaBytes int64  `json:"quota_bytes,omitempty"` // wished for
	Disk       int64  `json:"disk,omitempty"`        // the quota that its disk has room for, see disk_linux.go
	Head       string `json:"head,omitempty"`        // snapshot from which it has to be made before it is used
}

func (o *Overlay) volumeRecord(id VolumeID) (rec volumeRecord, err error) {
	err = readJSON(filepath.Join(o.volume(id), "volume.json"), &rec)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return rec, err
}

func (o *Overlay) recordVolume(id VolumeID, change func(*volumeRecord)) error {
	rec, err := o.volumeRecord(id)
	if err != nil {
		return err
	}
	was := rec
	if change(&rec); rec == was {
		return nil
	}
	return writeJSON(filepath.Join(o.volume(id), "volume.json"), rec, true)
}

// Volume implements Store.
func (o *Overlay) Volume(ctx context.Context, id VolumeID, quotaBytes int64) (string, error) {
	if err := checkName("volume", string(id)); err != nil {
		return "", err
	}
	unlock, err := o.keys.lock(ctx, "volume "+string(id))
	if err != nil {
		return "", err
	}
	defer unlock()
	data, err := o.makeVolume(ctx, id, max(quotaBytes, 0))
	if err != nil {
		return "", fmt.Errorf("volume %s: %w", id, noSpace(err))
	}
	return data, nil
}

func (o *Overlay) makeVolume(ctx context.Context, id VolumeID, quota int64) (string, error) {
	if err := os.MkdirAll(o.volume(id), 0o755); err != nil {
		return "", err
	}
	if err := o.recordVolume(id, func(r *volumeRecord) { r.QuotaBytes = quota }); err != nil {
		return "", err
	}
	if err := o.materialize(ctx, Object{KindVolume, string(id)}); err != nil {
		return "", err
	}
	plain := filepath.Join(o.volume(id), "data")
	if quota > 0 && o.feat.Quota {
		return o.disked(ctx, id, quota, plain)
	}
	if o.hasDisk(id) {
		at, err := o.boundAt(id)
		if err != nil {
			return "", err
		}
		if quota > 0 || at != "" { // it stays a disk while a jail has it
			return filepath.Join(o.mnt(id), "data"), mountDisk(o.disk(id), o.mnt(id))
		}
		if err := o.undisk(ctx, id); err != nil {
			return "", err
		}
	}
	return plain, os.MkdirAll(plain, 0o755)
}

// disked makes the volume a disk of the right size. What a jail has bound can only grow: the rest comes with its next
// start.
func (o *Overlay) disked(ctx context.Context, id VolumeID, quota int64, plain string) (string, error) {
	data, size := filepath.Join(o.mnt(id), "data"), int64(-1)
	if st, err := os.Stat(o.disk(id)); err == nil {
		size = st.Size()
		if err := mountDisk(o.disk(id), o.mnt(id)); err != nil {
			return "", err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	at, err := o.boundAt(id)
	if err != nil {
		return "", err
	}
	rec, err := o.volumeRecord(id)
	if err != nil {
		return "", err
	}
	switch want := diskSize(quota); {
	case size < 0 && at != "":
		return plain, nil
	case size < 0:
		from := plain
		if _, err := os.Stat(plain); errors.Is(err, os.ErrNotExist) {
			from = ""
		}
		err = o.remake(ctx, id, quota, from)
	case size > want && at != "":
		return data, nil
	case size > want:
		err = o.remake(ctx, id, quota, data)
	case size < want || rec.Disk != quota:
		err = o.growDisk(ctx, id, size, quota)
		if errors.Is(err, errNoGrowth) {
			if at != "" {
				return data, nil
			}
			err = o.remake(ctx, id, quota, data)
		}
	}
	if err != nil {
		return "", err
	}
	if err := errors.Join(mountDisk(o.disk(id), o.mnt(id)), o.discard(plain)); err != nil {
		return "", err
	}
	return data, o.recordVolume(id, func(r *volumeRecord) { r.Disk = quota })
}

// DestroyVolume implements Store.
func (o *Overlay) DestroyVolume(ctx context.Context, id VolumeID) error {
	if err := checkName("volume", string(id)); err != nil {
		return err
	}
	unlock, err := o.keys.lock(ctx, "volume "+string(id))
	if err != nil {
		return err
	}
	defer unlock()
	at, err := o.boundAt(id)
	if err != nil {
		return fmt.Errorf("destroy volume %s: %w", id, err)
	}
	if at != "" {
		return fmt.Errorf("destroy volume %s: it is mounted at %s: %w", id, at, ErrInUse)
	}
	snaps, err := o.readSnaps(Object{KindVolume, string(id)})
	if err != nil {
		return fmt.Errorf("destroy volume %s: %w", id, err)
	}
	for _, s := range snaps {
		if o.heldSnaps.has(o.snap(Object{KindVolume, string(id)}, s.name)) {
			return fmt.Errorf("destroy volume %s: its snapshot %s is being sent or held: %w", id, s.name, ErrInUse)
		}
	}
	if err := unmountAll(o.mnt(id)); err != nil {
		return fmt.Errorf("destroy volume %s: %w", id, err)
	}
	if err := o.discard(o.volume(id)); err != nil {
		return fmt.Errorf("destroy volume %s: %w", id, err)
	}
	return nil
}

// boundAt returns one place where a volume is mounted for a jail, "" for none.
func (o *Overlay) boundAt(id VolumeID) (string, error) {
	if err := o.showDisk(id); err != nil {
		return "", err
	}
	return boundBelow(o.jails(), o.liveDir(Object{KindVolume, string(id)}))
}

// showDisk mounts the disk of a volume again that was unmounted by hand while a jail has it.
func (o *Overlay) showDisk(id VolumeID) error {
	file, err := os.Open(o.disk(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if mounted, err := isMounted(o.mnt(id)); err != nil || mounted {
		return err
	}
	dev, err := loopOf(file)
	if err != nil || dev == nil {
		return err // nobody can have it
	}
	defer dev.Close()
	return mountDisk(o.disk(id), o.mnt(id))
}
