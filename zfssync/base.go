package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// hostBase is the root of the host itself: each driver has its own way to make that.
const hostBase = "host:/"

// emptied shows nothing of the host's in a "host:/" base: what runs, what is temporary, what people own. /proc, /sys and
// /dev are mounts of the host, and an overlay shows only the file system that / itself is on.
var emptied = []string{"/run", "/tmp", "/var/tmp", "/var/run", "/root", "/home", "/var/log", "/var/cache/apt/archives", "/mnt", "/media"}

// fillBase makes the base ref in the empty directory dst; skip are directories of the host that a copy leaves out.
func (c Config) fillBase(ctx context.Context, dst, ref string, skip []string, progress Progress) error {
	if suite, ok := strings.CutPrefix(ref, "debian:"); ok {
		if c.Runner == nil {
			return errors.New("this store cannot start debootstrap")
		}
		d := debootstrap{run: c.Runner, mirror: c.Mirror, aptDir: "/etc/apt", progress: progress}
		return d.make(ctx, suite, dst)
	}
	if scheme, _, ok := strings.Cut(ref, ":"); ok && !strings.Contains(scheme, "/") && !strings.HasPrefix(ref, ".") {
		return fmt.Errorf("%s: is not a kind of base that this version makes; use debian:SUITE, host:/, a directory, a .tar, .tar.gz or .tar.zst, or an image of the cluster", scheme)
	}
	if !filepath.IsAbs(ref) {
		return fmt.Errorf("no such image, and no absolute path: %w", ErrNotFound)
	}
	info, err := os.Stat(ref)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no such file or directory on this host; copy it here, or name another BASE: %w", ErrNotFound)
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return copyTree(ctx, ref, dst, skip, c.Limits, progress)
	}
	f, err := os.Open(ref)
	if err != nil {
		return err
	}
	defer f.Close()
	r, done, err := decompress(f, c.Limits)
	if err != nil {
		return err
	}
	defer done()
	return extractTar(ctx, r, dst, c.Limits, progress)
}
