package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Base implements Store.
func (o *Overlay) Base(ctx context.Context, ref, key string, progress Progress) (err error) {
	if _, err := digestOf(key); err != nil {
		return err
	}
	if progress == nil {
		progress = func(string) {}
	}
	unlock, err := o.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if o.HasLayer(key) {
		return nil
	}
	s, err := o.stage(key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Abort()) }()
	s.meta.Base = ref
	if err := o.fillBase(ctx, s, ref, progress); err != nil {
		return fmt.Errorf("base %s: %w", ref, err)
	}
	return s.Commit(ctx)
}

func (o *Overlay) fillBase(ctx context.Context, s *step, ref string, progress Progress) error {
	if suite, ok := strings.CutPrefix(ref, "debian:"); ok {
		if o.c.Runner == nil {
			return errors.New("this store cannot start debootstrap")
		}
		d := debootstrap{run: o.c.Runner, mirror: o.c.Mirror, aptDir: "/etc/apt", progress: progress}
		return d.make(ctx, suite, s.fs())
	}
	if ref == "host:/" {
		s.meta.HostRoot = true
		return sameRoot(s.fs(), "/") // the layer itself is empty, see hostView
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
		return copyTree(ctx, ref, s.fs(), o.dir, o.c.Limits, progress)
	}
	f, err := os.Open(ref)
	if err != nil {
		return err
	}
	defer f.Close()
	r, done, err := decompress(f, o.c.Limits)
	if err != nil {
		return err
	}
	defer done()
	return extractTar(ctx, r, s.fs(), o.c.Limits, progress)
}
