package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// diskSize is enough for the log of the longest run; the file is sparse.
const diskSize = 384 << 20

// disk gives the host an ext4 of its own, which can be frozen or full.
func (h *host) disk(ctx context.Context, l *lab) error {
	image := filepath.Join(h.dir, "disk.img")
	h.mount, h.data = filepath.Join(h.dir, "disk"), filepath.Join(h.dir, "disk", "data")
	if err := os.MkdirAll(h.mount, 0o711); err != nil {
		return err
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(image, diskSize); err != nil {
		return err
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", image); err != nil {
		return err
	}
	if err := command(ctx, "mount", "-o", "loop", image, h.mount); err != nil {
		return err
	}
	l.undo(func() error {
		ctx := context.WithoutCancel(ctx)
		return wait(ctx, 20*time.Second, "unmount", func() error { return command(ctx, "umount", h.mount) })
	})
	// A frozen file system cannot be unmounted, and what waits for it cannot die. Thawing what is not frozen is an error of no interest.
	l.undo(func() error { _ = h.thaw(); return nil })
	return nil
}

// freeze stops all writes to the host's disk: they wait, as on a disk that hangs. See FIFREEZE in ioctl_fs.
func (h *host) freeze() error { return command(context.Background(), "fsfreeze", "-f", h.mount) }

// thaw ends freeze.
func (h *host) thaw() error { return command(context.Background(), "fsfreeze", "-u", h.mount) }

func (h *host) ballast() string { return filepath.Join(h.mount, "ballast") }

// fill leaves no block free on the host's disk.
func (h *host) fill() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(h.mount, &fs); err != nil {
		return err
	}
	f, err := os.OpenFile(h.ballast(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, fs.Bsize)
	// In big steps by fallocate(2), then block by block until it is refused.
	for step := int64(fs.Bavail) * fs.Bsize; step >= fs.Bsize; step /= 2 {
		for at := size(f); syscall.Fallocate(int(f.Fd()), 0, at, step) == nil; at = size(f) {
			continue
		}
	}
	if _, err := f.WriteAt(block, size(f)); err == nil {
		return fmt.Errorf("fill %s: a block is still free", h.mount)
	}
	return nil
}

func size(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// clean ends fill.
func (h *host) clean() error { return os.Remove(h.ballast()) }
