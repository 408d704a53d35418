package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// VolumeInfo describes a volume; ErrNotFound. It walks over all files of the volume, as long as ctx lets it.
func (o *Overlay) VolumeInfo(ctx context.Context, id VolumeID) (VolumeInfo, error) {
	info := VolumeInfo{ID: id, Bytes: -1}
	if err := checkName("volume", string(id)); err != nil {
		return info, err
	}
	data := o.liveDir(Object{KindVolume, string(id)})
	head, err := o.head(Object{KindVolume, string(id)})
	switch {
	case err != nil:
		return info, fmt.Errorf("volume %s: %w", id, err)
	case head != "": // received, and not used yet
		data = filepath.Join(o.snap(Object{KindVolume, string(id)}, head), "data")
	case o.hasDisk(id):
		return o.diskInfo(ctx, id)
	}
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		return info, fmt.Errorf("volume %s: %w", id, ErrNotFound)
	}
	rec, err := o.volumeRecord(id)
	if err != nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	info.QuotaBytes, info.QuotaKept = rec.QuotaBytes, o.feat.Quota && (rec.QuotaBytes == 0 || head != "")
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

// diskInfo describes a volume that is a disk. One that cannot be mounted is listed all the same: it may be to be removed.
func (o *Overlay) diskInfo(ctx context.Context, id VolumeID) (VolumeInfo, error) {
	info := VolumeInfo{ID: id, Bytes: -1, QuotaKept: true}
	rec, err := o.volumeRecord(id)
	if err != nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	info.QuotaBytes = rec.QuotaBytes
	unlock, err := o.keys.lock(ctx, "volume "+string(id))
	if err != nil {
		return info, err
	}
	defer unlock()
	if err := mountDisk(o.disk(id), o.mnt(id)); err != nil {
		o.log.Warn("the bytes of a volume cannot be counted", "volume", string(id), "err", err)
		return info, nil
	}
	at, err := o.boundAt(id)
	if err != nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(o.mnt(id), &st); err != nil {
		return info, fmt.Errorf("volume %s: count its bytes: %w", id, err)
	}
	info.InUse, info.Bytes = at != "", int64(st.Blocks-st.Bfree)*st.Bsize
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
