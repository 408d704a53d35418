//go:build linux

// Command sync measures how fast package zfssync/transfer moves 1 GiB between
// two stores over mutual TLS, beside what a pipe does without network, hashes
// and encryption (tar | tar, or zfs send | zfs receive on the same pools),
// beside rsync -a of the same tree, and beside what goes between two hosts, by
// ssh (rsync -a, or zfs send | ssh zfs receive); how many bytes a second version costs of
// which 1 % is new; and how much memory each side needs.
//
// Everything lies in memory (tmpfs), so that the disk of the machine does not
// decide.
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

	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// Goals of each row, as ratios where there is a peer.
const (
	goalPipe  = 0.9
	goalRsync = 1.0
	goalSSH   = 1.2
	goalShare = 5.0  // percent
	goalMiB   = 64.0 // of each process
)

func main() {
	var c config
	flag.IntVar(&c.rounds, "rounds", 3, "measurements of each, by turns")
	flag.IntVar(&c.mib, "size", 1024, "`MiB` of the tree")
	flag.StringVar(&c.only, "only", "", "overlay or zfs: measure only that storage")
	flag.StringVar(&c.profile, "profile", "", "`directory` for a CPU profile of each side of each transfer, and the machine's busy time on standard error")
	role := flag.String("role", "", "(internal) serve or receive: one side of a transfer, with its order on standard input")
	flag.Parse()
	var err error
	switch *role {
	case "":
		err = bench(c)
	default:
		err = child(*role, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench sync:", err)
		os.Exit(1)
	}
}

type config struct {
	rounds, mib int
	only        string
	profile     string
}

func bench(c config) (err error) {
	dir, err := os.MkdirTemp("", "rexcarcer-bench-sync-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// The tree, two stores with a snapshot each, and what the peers write.
	size := fmt.Sprintf("size=%dm,mode=755", 10*c.mib+512)
	if err := unix.Mount("rexcarcer-bench", dir, "tmpfs", 0, size); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH)) }()
	if err := certificates(dir); err != nil {
		return err
	}
	var rows []report.Row
	for _, s := range []struct {
		name string
		run  func(context.Context, config, string) ([]report.Row, error)
	}{{"overlay", overlay}, {"zfs", zfs}} {
		if c.only != "" && c.only != s.name {
			continue
		}
		place := filepath.Join(dir, s.name)
		if err := os.Mkdir(place, 0o755); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
		r, err := s.run(ctx, c, place)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		rows = append(rows, r...)
		if err := os.RemoveAll(place); err != nil {
			return err
		}
	}
	if err := report.Write("sync", rows); err != nil {
		return err
	}
	return judge(rows)
}

func goalOf(peer string) float64 {
	switch {
	case strings.Contains(peer, "ssh"):
		return goalSSH
	case peer == "rsync -a":
		return goalRsync
	}
	return goalPipe
}

// judge says which goals were missed.
func judge(rows []report.Row) error {
	var errs []error
	for _, r := range rows {
		ours := report.Median(r.Ours)
		switch {
		case len(r.Peer) > 0 && r.Ratio() < goalOf(r.PeerName):
			errs = append(errs, fmt.Errorf("%s: %.2fx of %s", r.Name, r.Ratio(), r.PeerName))
		case r.Unit == "% of bytes" && ours >= goalShare, r.Unit == "MiB" && ours >= goalMiB:
			errs = append(errs, fmt.Errorf("%s: %.1f %s", r.Name, ours, r.Unit))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("goals missed: %w", errors.Join(errs...))
	}
	return nil
}
