//go:build linux

// Command clone measures how long a jail's root takes from an image that is there: Store.Clone of both storage drivers, beside
// the mount(2) of an overlay and the `zfs clone` and `zfs mount` that cannot be done without, made by hand on the same pool in
// the same run. What a start of a jail costs besides is the same on both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/zfstest"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// goal is the most that a clone on ZFS may take longer than an overlay mount, in ms.
const goal = 10

func main() {
	rounds := flag.Int("rounds", 31, "clones of each kind, by turns")
	flag.Parse()
	if err := bench(context.Background(), *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench clone:", err)
		os.Exit(1)
	}
}

var (
	layer = "sha256:" + strings.Repeat("1", 64)
	image = "sha256:" + strings.Repeat("2", 64)
)

// kind is one way to get a root; undo is not measured.
type kind struct {
	name string
	make func(ctx context.Context, n int) error
	undo func(ctx context.Context, n int) error
	took []float64
}

func bench(ctx context.Context, rounds int) (err error) {
	dir, err := os.MkdirTemp("", "rexclone")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := zfstest.Start(); err != nil {
		return err
	}
	pool := fmt.Sprintf("%sclone%d", zfstest.Prefix, os.Getpid())
	file := filepath.Join("/dev/shm", pool)
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 256<<20)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file)) }()
	if err := command(ctx, "zpool", "create", "-o", "cachefile=none", "-m", "none", pool, file); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, command(context.WithoutCancel(ctx), "zpool", "destroy", "-f", pool)) }()
	overlay, err := zfssync.OpenOverlay(zfssync.Config{Dir: filepath.Join(dir, "overlay")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, overlay.Teardown(context.WithoutCancel(ctx)), overlay.Close()) }()
	zfs, err := zfssync.OpenZFS(ctx, zfssync.Config{Dir: filepath.Join(dir, "zfs"), Dataset: pool + "/rex", Instance: "bench", Runner: run.Real{}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, zfs.Teardown(context.WithoutCancel(ctx)), zfs.Close()) }()
	for _, s := range []zfssync.Store{overlay, zfs} {
		if err := fill(ctx, s, filepath.Join(dir, "tree")); err != nil {
			return err
		}
	}
	kinds := []*kind{bareOverlay(dir), store("overlay", overlay), bareZFS(dir, pool), store("zfs", zfs)}
	for n := range rounds + 1 {
		for _, k := range kinds {
			begin := time.Now()
			if err := k.make(ctx, n); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			took := time.Since(begin).Seconds() * 1000
			if n > 0 { // the first one warms up
				k.took = append(k.took, took)
			}
			if err := k.undo(ctx, n); err != nil {
				return fmt.Errorf("undo %s: %w", k.name, err)
			}
		}
	}
	return tell(kinds[0], kinds[1], kinds[2], kinds[3])
}

func tell(mount, overlay, byHand, zfs *kind) error {
	rows := []report.Row{
		{Name: "clone on overlay", Unit: "ms", Ours: overlay.took, Peer: mount.took, PeerName: mount.name},
		{Name: "clone on zfs-fuse", Unit: "ms", Ours: zfs.took, Peer: byHand.took, PeerName: byHand.name},
		{Name: "clone on zfs-fuse", Unit: "ms", Ours: zfs.took, Peer: mount.took, PeerName: mount.name},
	}
	if err := report.Write("clone", rows); err != nil {
		return err
	}
	more, floor := report.Median(zfs.took)-report.Median(mount.took), report.Median(byHand.took)-report.Median(mount.took)
	fmt.Printf("a clone on this ZFS takes %.1f ms more than an overlay mount (goal: at most %d ms); by hand it is %.1f ms more\n", more, goal, floor)
	return nil
}

// fill makes a small image.
func fill(ctx context.Context, s zfssync.Store, tree string) error {
	for i := range 50 {
		d := filepath.Join(tree, fmt.Sprint("d", i))
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(d, "f"), make([]byte, 20<<10), 0o600); err != nil {
			return err
		}
	}
	if err := s.Base(ctx, tree, layer, nil); err != nil {
		return err
	}
	return s.PutImage(ctx, zfssync.Image{Key: image, Top: layer, Name: "bench", Base: tree})
}

func store(name string, s zfssync.Store) *kind {
	id := func(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }
	return &kind{
		name: name,
		make: func(ctx context.Context, n int) error {
			_, err := s.Clone(ctx, image, id(n), zfssync.CloneOptions{})
			return err
		},
		undo: func(ctx context.Context, n int) error { return s.Destroy(ctx, id(n)) },
	}
}

// bareOverlay is one mount(2) on directories.
func bareOverlay(dir string) *kind {
	at := func(n int) string { return filepath.Join(dir, fmt.Sprint("bare", n)) }
	return &kind{
		name: "mount -t overlay",
		make: func(_ context.Context, n int) error {
			for _, d := range []string{"upper", "work", "root"} {
				if err := os.MkdirAll(filepath.Join(at(n), d), 0o755); err != nil {
					return err
				}
			}
			o := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", filepath.Join(dir, "tree"), at(n), at(n))
			return unix.Mount("overlay", filepath.Join(at(n), "root"), "overlay", 0, o)
		},
		undo: func(_ context.Context, n int) error {
			return errors.Join(unix.Unmount(filepath.Join(at(n), "root"), 0), os.RemoveAll(at(n)))
		},
	}
}

// bareZFS is what a clone needs of zfs(8), with nothing around it.
func bareZFS(dir, pool string) *kind {
	from := pool + "/rex/layer/" + strings.TrimPrefix(layer, "sha256:") + "@layer"
	ds := func(n int) string { return fmt.Sprintf("%s/bare%d", pool, n) }
	return &kind{
		name: "zfs clone; zfs mount",
		make: func(ctx context.Context, n int) error {
			at := filepath.Join(dir, fmt.Sprint("zbare", n))
			if err := command(ctx, "zfs", "clone", "-o", "canmount=noauto", "-o", "mountpoint="+at, from, ds(n)); err != nil {
				return err
			}
			// zfs-fuse mounts a clone as it is made.
			if err := command(ctx, "zfs", "mount", ds(n)); err != nil && !strings.Contains(err.Error(), "already mounted") {
				return err
			}
			return nil
		},
		undo: func(ctx context.Context, n int) error {
			at := filepath.Join(dir, fmt.Sprint("zbare", n))
			err := unix.Unmount(at, unix.MNT_DETACH)
			for end := time.Now().Add(10 * time.Second); ; <-time.After(20 * time.Millisecond) {
				derr := command(ctx, "zfs", "destroy", "-f", ds(n))
				if derr == nil || time.Now().After(end) {
					return errors.Join(err, derr)
				}
			}
		},
	}
}

func command(ctx context.Context, argv ...string) error {
	_, err := run.Real{}.Run(ctx, run.Cmd{Argv: argv})
	return err
}
