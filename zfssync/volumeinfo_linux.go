package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// VolumeInfo describes a volume; ErrNotFound. It walks over all files of the volume, as long as ctx lets it.
func (o *Overlay) VolumeInfo(ctx context.Context, id VolumeID) (VolumeInfo, error) {
	info := VolumeInfo{ID: id, Bytes: -1}
	if err := checkName("volume", string(id)); err != nil {
		return info, err
	}
	data := filepath.Join(o.volume(id), "data")
	if head, err := o.head(Object{KindVolume, string(id)}); err != nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	} else if head != "" { // received, and not used yet
		data = filepath.Join(o.snap(Object{KindVolume, string(id)}, head), "data")
	}
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		return info, fmt.Errorf("volume %s: %w", id, ErrNotFound)
	}
	var rec volumeRecord
	if err := readJSON(filepath.Join(o.volume(id), "volume.json"), &rec); err != nil && !errors.Is(err, ErrNotFound) {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	info.QuotaBytes = rec.QuotaBytes
	at, err := o.boundAt(id)
	if err != nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	info.InUse = at != ""
	if info.Bytes, err = liveUsage(ctx, data); err != nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	return info, nil
}

// liveUsage counts the blocks below dir, hard links once, while a jail may write there: what vanishes does not count.
// -1: ctx ended before it was done.
func liveUsage(ctx context.Context, dir string) (int64, error) {
	var total int64
	type file struct{ dev, ino uint64 }
	seen := map[file]bool{}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			total = -1
			return fs.SkipAll
		}
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Nlink > 1 && !info.IsDir() {
			id := file{st.Dev, st.Ino}
			if seen[id] {
				return nil
			}
			seen[id] = true
		}
		total += st.Blocks * 512
		return nil
	})
	return total, err
}
