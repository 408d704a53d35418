package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// A volume with a quota is a file system of its own, in the file volumes/<id>/disk, mounted by a loop device at mnt beside it.
// Its live directory is mnt/data. That holds on every kernel and every file system, and what a jail writes shows in nobody
// else's free space. The file's blocks are set aside when it is made: a disk that fills up under a file system in a file would
// cost what was written to it and not yet synced.
//
// Where there is a disk, it is the volume; a directory data beside it is what a conversion has left. So a conversion, to another
// form or size, is one rename.

const (
	diskFile  = "disk"
	diskGrace = 10 * time.Minute // for mkfs and resize2fs
)

func (l layout) disk(id VolumeID) string { return filepath.Join(l.volume(id), diskFile) }
func (l layout) mnt(id VolumeID) string  { return filepath.Join(l.volume(id), "mnt") }

func (l layout) hasDisk(id VolumeID) bool {
	_, err := os.Lstat(l.disk(id))
	return err == nil
}

// diskSize is the size of the file in which a file system has room for quota bytes: what ext4 takes for itself comes on top.
func diskSize(quota int64) int64 {
	const mib = 1 << 20
	_, journal := diskShape(quota)
	// inodes (-i 16384), the reserve that the kernel keeps (1/50, at most 4096 blocks), bitmaps and descriptors
	size := quota + int64(journal)*mib + quota/64 + min(quota/48, 17*mib) + quota/128 + mib
	return (size + mib - 1) / mib * mib
}

// diskShape is the block size in bytes and the size of the journal in MiB.
func diskShape(quota int64) (block, journal int) {
	switch {
	case quota < 32<<20:
		return 1024, 1
	case quota < 512<<20:
		return 4096, 4
	case quota < 8<<30:
		return 4096, 16
	}
	return 4096, 64
}

// probeDisks records whether volumes can have disks here.
func (o *Overlay) probeDisks() {
	var why []string
	for _, tool := range []string{"mkfs.ext4", "resize2fs"} {
		if _, err := run.LookPath(tool); err != nil {
			why = append(why, tool+" is not installed (Debian package e2fsprogs)")
		}
	}
	if f, err := os.OpenFile(loopControl, os.O_RDWR, 0); err != nil {
		why = append(why, "no loop devices: "+err.Error())
	} else {
		_ = f.Close()
	}
	if len(why) > 0 {
		o.feat.QuotaReason = "a volume with a quota is a file with an ext4 in it: " + strings.Join(why, "; ")
		return
	}
	o.feat.Quota = true
}

// mountDisk mounts the file system in a file.
func mountDisk(disk, at string) error {
	mounted, err := isMounted(at)
	if err != nil || mounted {
		return err
	}
	if err := os.Mkdir(at, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	dev, err := attachLoop(disk)
	if err != nil {
		return err
	}
	defer dev.Close()
	if err := unix.Mount(dev.Name(), at, "ext4", unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w (a damaged one is mended by: fsck.ext4 -f %s)", disk, at, err, disk)
	}
	return nil
}

// makeDisk makes dir/disk with what fill writes into its data directory, and leaves it unmounted.
func (o *Overlay) makeDisk(ctx context.Context, dir string, quota int64, fill func(data string) error) (err error) {
	disk, at := filepath.Join(dir, diskFile), filepath.Join(dir, "mnt")
	if err := allocate(disk, diskSize(quota)); err != nil {
		return fmt.Errorf("its quota is set aside on the disk: make room, or make the quota smaller: %w", err)
	}
	block, journal := diskShape(quota)
	_, err = o.runner().Run(ctx, run.Cmd{Timeout: diskGrace, Argv: []string{
		"mkfs.ext4", "-q", "-F", "-b", strconv.Itoa(block), "-I", "256", "-i", "16384", "-m", "0",
		"-J", fmt.Sprintf("size=%d", journal), "-E", "nodiscard", disk,
	}})
	if err != nil {
		return err
	}
	if err := mountDisk(disk, at); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmountAll(at)) }()
	data := filepath.Join(at, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		return err
	}
	if err := fill(data); err != nil {
		return err
	}
	return syncFS(data)
}

func (o *Overlay) runner() run.Runner {
	if o.c.Runner == nil {
		return run.Real{}
	}
	return o.c.Runner
}

// remake makes the volume a disk for quota bytes with the content of from, "" for nothing. Nobody may have it bound.
func (o *Overlay) remake(ctx context.Context, id VolumeID, quota int64, from string) error {
	return o.staged("disk-", func(dir string) error {
		err := o.makeDisk(ctx, dir, quota, func(data string) error {
			if from == "" {
				return nil
			}
			err := copyExact(ctx, from, data, false)
			if errors.Is(noSpace(err), ErrNoSpace) {
				err = fmt.Errorf("it holds more than its quota of %d bytes: raise the quota: %w", quota, err)
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := o.point("disk made"); err != nil {
			return err
		}
		if err := errors.Join(syncFS(dir), unmountAll(o.mnt(id))); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, diskFile), o.disk(id)); err != nil {
			return err
		}
		if err := syncDir(o.volume(id)); err != nil {
			return err
		}
		return o.point("disk in place")
	})
}

// errNoGrowth: the kernel does not grow a file system that is mounted.
var errNoGrowth = errors.New("it does not grow while it is mounted")

// growDisk makes the mounted disk of a volume have room for quota bytes, while it is in use, too. errNoGrowth where the daemon
// lacks CAP_SYS_RESOURCE, as in some containers; all is then as it was.
func (o *Overlay) growDisk(ctx context.Context, id VolumeID, was, quota int64) error {
	if err := allocate(o.disk(id), diskSize(quota)); err != nil {
		return fmt.Errorf("its quota is set aside on the disk: make room, or make the quota smaller: %w", err)
	}
	dev, err := attachLoop(o.disk(id))
	if err != nil {
		return err
	}
	defer dev.Close()
	resized := func() error {
		if _, err := unix.IoctlRetInt(int(dev.Fd()), unix.LOOP_SET_CAPACITY); err != nil {
			return fmt.Errorf("tell %s its size: %w", dev.Name(), err)
		}
		return nil
	}
	if err := resized(); err != nil {
		return err
	}
	if err := o.point("disk longer"); err != nil {
		return err
	}
	_, err = o.runner().Run(ctx, run.Cmd{Timeout: diskGrace, Argv: []string{"resize2fs", dev.Name()}})
	if err == nil || !denied(err) {
		return err
	}
	return errors.Join(fmt.Errorf("%w: %w", errNoGrowth, err), os.Truncate(o.disk(id), was), resized())
}

// denied reports whether resize2fs was refused by the kernel, before anything had changed.
func denied(err error) bool {
	var failed *run.Error
	return errors.As(err, &failed) && strings.Contains(failed.Stderr, "Permission denied")
}

// undisk makes the volume a plain directory again. Nobody may have it bound.
func (o *Overlay) undisk(ctx context.Context, id VolumeID) error {
	if err := mountDisk(o.disk(id), o.mnt(id)); err != nil {
		return err
	}
	return o.staged("plain-", func(dir string) error {
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o755); err != nil {
			return err
		}
		if err := copyExact(ctx, filepath.Join(o.mnt(id), "data"), data, false); err != nil {
			return err
		}
		if err := syncFS(data); err != nil {
			return err
		}
		plain := filepath.Join(o.volume(id), "data")
		if err := errors.Join(o.discard(plain), os.Rename(data, plain)); err != nil {
			return err
		}
		if err := o.point("directory in place"); err != nil {
			return err
		}
		return o.dropDisk(id)
	})
}

// dropDisk leaves the volume the directory beside its disk.
func (o *Overlay) dropDisk(id VolumeID) error {
	if err := unmountAll(o.mnt(id)); err != nil {
		return err
	}
	return o.discard(o.disk(id))
}
