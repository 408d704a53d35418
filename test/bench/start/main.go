//go:build linux

// Command start measures how long a jail takes to start, beside a shell script
// that does the same with mount(8), ip(8) and the same OCI runtime, and beside
// podman on a bridge network. It is run as root by `make bench BENCH=start`.
//
// Ours is a whole daemon: from the placement (its entry is still to be
// committed) to the agent's word that the first process runs, and in between a
// key and a certificate, which the others do not have, an address that the log
// gave, and the guards of the bridge.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/test/bench/live"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// The goals: time of the script times this, podman's time over ours, rate of
// the script times this.
const (
	goalScript = 1 / 0.8
	goalPodman = 10
	goalBurst  = 1.5
)

type options struct {
	binary, dir   string
	rounds, count int
	bursts        int
	alone, skip   bool
	timeout       time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.binary, "rexcarcer", "bin/rexcarcer", "the daemon")
	flag.StringVar(&o.dir, "dir", "/var/tmp", "where all keep their data")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, each of ours and the peers in turn")
	flag.IntVar(&o.count, "count", 10, "jails one after the other, each round")
	flag.IntVar(&o.bursts, "bursts", 3, "times 16 at once, each round")
	flag.BoolVar(&o.alone, "alone", false, "no peers")
	flag.BoolVar(&o.skip, "nopodman", false, "without podman")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Minute, "of all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench start:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, o options) (err error) {
	d, err := live.Start(ctx, o.binary, o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	hosts, err := d.Client.Hosts(ctx)
	if err != nil {
		return err
	}
	runtime, _, _ := strings.Cut(hosts[0].Features["runtime"], " ")
	one := report.Row{Name: "start, one at a time, " + runtime, Unit: "ms", PeerName: "shell script"}
	pod := report.Row{Name: "start, one at a time, " + runtime, Unit: "ms", PeerName: "podman on a bridge"}
	burst := report.Row{Name: "16 at once, with tear-down", Unit: "jails/s", PeerName: "shell script", HigherIsBetter: true}
	var s *script
	var p *podman
	if !o.alone {
		if s, err = newScript(o.dir, d.Base, runtime); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.close()) }()
	}
	if !o.alone && !o.skip {
		if p, err = newPodman(ctx, o.dir, d.Base); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
	}
	for range o.rounds {
		ours, err := oneByOne(ctx, d, o.count)
		if err != nil {
			return err
		}
		one.Ours, pod.Ours = append(one.Ours, ours), append(pod.Ours, ours)
		rate, err := bursts(ctx, d, o.bursts)
		if err != nil {
			return err
		}
		burst.Ours = append(burst.Ours, rate)
		if s != nil {
			if ours, err = s.oneByOne(ctx, o.count); err != nil {
				return err
			}
			one.Peer = append(one.Peer, ours)
			if rate, err = s.bursts(ctx, o.bursts); err != nil {
				return err
			}
			burst.Peer = append(burst.Peer, rate)
		}
		if p != nil {
			if ours, err = p.oneByOne(ctx, max(o.count/3, 1)); err != nil {
				return err
			}
			pod.Peer = append(pod.Peer, ours)
		}
	}
	if err := report.Write("start", []report.Row{one, pod, burst}); err != nil {
		return err
	}
	for _, g := range []struct {
		row  report.Row
		goal float64
	}{{one, goalScript}, {pod, goalPodman}, {burst, goalBurst}} {
		if r := g.row.Ratio(); r != 0 && r < g.goal {
			fmt.Printf("FELL SHORT: %s beside %s: %.2fx, the goal is %.2fx\n", g.row.Name, g.row.PeerName, r, g.goal)
		}
	}
	return nil
}
