//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/zfstest"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

func openZFS(ctx context.Context, c zfssync.Config, dataset string) (zfssync.Store, error) {
	c.Dataset, c.Instance = dataset, "bench"
	return zfssync.OpenZFS(ctx, c)
}

// ask runs zfs(8) or zpool(8).
func ask(ctx context.Context, argv ...string) (string, error) {
	x := exec.CommandContext(ctx, argv[0], argv[1:]...)
	x.Env = append(os.Environ(), "LC_ALL=C")
	out, err := x.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// zfs measures two pools of this machine's ZFS, or of zfs-fuse.
func zfs(ctx context.Context, c config, dir string) (rows []report.Row, err error) {
	if err := zfstest.Start(); err != nil {
		return nil, err
	}
	var pools [2]string
	for i, gib := range []int{3, 5} {
		pools[i] = fmt.Sprintf("%sbench%d%c", zfstest.Prefix, os.Getpid(), 'a'+i)
		file := filepath.Join(dir, pools[i])
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, int64(gib*c.mib+256)<<20)); err != nil {
			return nil, err
		}
		if _, err := ask(ctx, "zpool", "create", "-o", "cachefile=none", "-m", "none", pools[i], file); err != nil {
			return nil, err
		}
		defer func() {
			_, derr := ask(context.WithoutCancel(ctx), "zpool", "destroy", "-f", pools[i])
			err = errors.Join(err, derr)
		}()
	}
	return zfsRounds(ctx, c, dir, pools[0], pools[1])
}

func zfsRounds(ctx context.Context, c config, dir, a, b string) ([]report.Row, error) {
	from := order{Certs: filepath.Dir(dir), Dir: filepath.Join(dir, "a", "store"), Dataset: a + "/rex", Volume: volumeName, Profile: c.profile}
	to := order{Certs: from.Certs, Dir: filepath.Join(dir, "b", "store"), Dataset: b + "/rex", Volume: volumeName, Profile: c.profile}
	if _, err := prepare(ctx, from, func(tree string) error { return grow(tree, c.mib) }, "one"); err != nil {
		return nil, err
	}
	snapshot, err := only(ctx, a)
	if err != nil {
		return nil, err
	}
	m := newMeasure(c, "zfs", "zfs send | zfs receive")
	m.ssh.PeerName = "zfs send | ssh zfs receive"
	there, err := newRemote(ctx, filepath.Join(dir, "ssh"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = there.stop() }() // it has nothing left to do
	src, err := newServer(ctx, from)
	if err != nil {
		return nil, err
	}
	to.Addr = src.addr
	for range c.rounds {
		if err := zfsRound(ctx, m, there, to, dir, snapshot, a, b); err != nil {
			return nil, errors.Join(err, m.server(src))
		}
	}
	_, _, err = receiveOnce(ctx, to) // the version that the next one stands on
	if err = errors.Join(err, m.server(src)); err != nil {
		return nil, err
	}
	if _, err := prepare(ctx, from, func(tree string) error { return change(tree, c.mib) }, "two"); err != nil {
		return nil, err
	}
	if src, err = newServer(ctx, from); err != nil {
		return nil, err
	}
	to.Addr = src.addr
	err = m.second(ctx, to)
	return m.rows(), errors.Join(err, m.server(src))
}

// only returns the one snapshot below a pool.
func only(ctx context.Context, pool string) (string, error) {
	out, err := ask(ctx, "zfs", "list", "-H", "-r", "-t", "snapshot", "-o", "name", pool)
	if err == nil && (out == "" || strings.Contains(out, "\n")) {
		err = fmt.Errorf("want one snapshot below %s, got %q", pool, out)
	}
	return out, err
}

func zfsRound(ctx context.Context, m *measure, there *remote, to order, dir, snapshot, a, b string) error {
	err := m.ours(ctx, to, func() error {
		return errors.Join(gone(ctx, to.Dataset), os.RemoveAll(to.Dir))
	})
	if err != nil {
		return err
	}
	if err := m.pipe(m.c.pipe(ctx, []string{"zfs", "send", snapshot}, []string{"zfs", "receive", "-u", b + "/piped"})); err != nil {
		return err
	}
	if err := gone(ctx, b+"/piped"); err != nil {
		return err
	}
	if err := m.remote(m.c.pipe(ctx, []string{"zfs", "send", snapshot}, append(there.command(), "zfs", "receive", "-u", b+"/piped"))); err != nil {
		return err
	}
	if err := gone(ctx, b+"/piped"); err != nil {
		return err
	}
	// The same tree, read from one pool and written to the other.
	source, copied := filepath.Join(dir, "source"), filepath.Join(dir, "copied")
	for _, argv := range [][]string{
		{"zfs", "clone", "-o", "mountpoint=" + source, snapshot, a + "/source"},
		{"zfs", "create", "-o", "mountpoint=" + copied, b + "/copied"},
	} {
		if _, err := ask(ctx, argv...); err != nil {
			return err
		}
	}
	if err := m.rsync(m.c.timed(ctx, "rsync", "-a", source+"/", copied+"/")); err != nil {
		return err
	}
	return errors.Join(gone(ctx, a+"/source"), gone(ctx, b+"/copied"))
}

// gone destroys a dataset. It tries for a while: zfs-fuse keeps one busy for a
// moment after its last file was closed.
func gone(ctx context.Context, dataset string) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		_, err := ask(ctx, "zfs", "destroy", "-r", dataset)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
