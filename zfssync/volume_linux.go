package zfssync

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
)

// volumeRecord is volumes/<id>/volume.json.
type volumeRecord struct {
	QuotaBytes int64  `json:"quota_bytes,omitempty"` // wished for; not enforced here
	Head       string `json:"head,omitempty"`        // snapshot from which it has to be made before it is used
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
	data := filepath.Join(o.volume(id), "data")
	if err := o.materialize(ctx, Object{KindVolume, string(id)}); err != nil {
		return "", fmt.Errorf("volume %s: %w", id, noSpace(err))
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", fmt.Errorf("volume %s: %w", id, err)
	}
	record := filepath.Join(o.volume(id), "volume.json")
	var was volumeRecord
	if err := readJSON(record, &was); err == nil && was.QuotaBytes == quotaBytes {
		return data, nil
	}
	was.QuotaBytes = quotaBytes
	if err := writeJSON(record, was, true); err != nil {
		return "", fmt.Errorf("volume %s: %w", id, err)
	}
	return data, nil
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
	if err := o.discard(o.volume(id)); err != nil {
		return fmt.Errorf("destroy volume %s: %w", id, err)
	}
	return nil
}

// boundAt returns one place where a volume is mounted for a jail, "" for none.
func (o *Overlay) boundAt(id VolumeID) (string, error) {
	data, err := os.Stat(filepath.Join(o.volume(id), "data"))
	if os.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(o.jails()))
	if err != nil {
		return "", fmt.Errorf("read mounts: %w", err)
	}
	for _, m := range mounts {
		if st, err := os.Stat(m.Mountpoint); err == nil && os.SameFile(st, data) {
			return m.Mountpoint, nil
		}
	}
	return "", nil
}
