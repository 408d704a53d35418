//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

const volumeName = "bench"

// overlay measures two stores of plain directories.
func overlay(ctx context.Context, c config, dir string) ([]report.Row, error) {
	from := order{Certs: filepath.Dir(dir), Dir: filepath.Join(dir, "a", "store"), Volume: volumeName, Profile: c.profile}
	tree, err := prepare(ctx, from, func(tree string) error { return grow(tree, c.mib) }, "one")
	if err != nil {
		return nil, err
	}
	m := newMeasure(c, "overlay", "tar | tar")
	src, err := newServer(ctx, from)
	if err != nil {
		return nil, err
	}
	to := order{Certs: from.Certs, Dir: filepath.Join(dir, "b", "store"), Addr: src.addr, Volume: volumeName, Profile: c.profile}
	peer := filepath.Join(dir, "peer")
	there, err := newRemote(ctx, filepath.Join(dir, "ssh"))
	if err != nil {
		return nil, errors.Join(err, m.server(src))
	}
	defer func() { _ = there.stop() }() // it has nothing left to do
	for range c.rounds {
		err := errors.Join(
			m.ours(ctx, to, func() error { return os.RemoveAll(filepath.Dir(to.Dir)) }),
			fresh(peer, func() error {
				return m.pipe(m.c.pipe(ctx, []string{"tar", "-C", tree, "-cf", "-", "."}, []string{"tar", "-C", peer, "-xf", "-"}))
			}),
			fresh(peer, func() error { return m.rsync(m.c.timed(ctx, "rsync", "-a", tree+"/", peer+"/")) }),
			fresh(peer, func() error { return m.remote(m.c.timed(ctx, there.rsync(tree, peer)...)) }),
		)
		if err != nil {
			return nil, errors.Join(err, m.server(src))
		}
	}
	if _, _, err := receiveOnce(ctx, to); err != nil { // the version that the next one is compared with
		return nil, errors.Join(err, m.server(src))
	}
	if err := m.server(src); err != nil {
		return nil, err
	}
	if _, err := prepare(ctx, from, func(tree string) error { return change(tree, c.mib) }, "two"); err != nil {
		return nil, err
	}
	if src, err = newServer(ctx, from); err != nil {
		return nil, err
	}
	to.Addr, to.Delta = src.addr, true
	err = m.second(ctx, to)
	return m.rows(), errors.Join(err, m.server(src))
}

// prepare fills the volume of a store and takes a snapshot of it.
func prepare(ctx context.Context, o order, fill func(tree string) error, snapshot string) (tree string, err error) {
	store, err := o.open(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if tree, err = store.Volume(ctx, volumeName, 0); err != nil {
		return "", err
	}
	if err := fill(tree); err != nil {
		return "", err
	}
	_, err = store.TakeSnapshot(ctx, zfssync.Object{Kind: zfssync.KindVolume, Name: volumeName}, snapshot)
	return tree, err
}

// fresh calls do with an empty directory, and removes what it left.
func fresh(dir string, do func() error) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(do(), os.RemoveAll(dir))
}
