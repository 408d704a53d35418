// Command cluster measures three real daemons on one machine, fsync on, as
// their users see them: through the HTTP API and through DNS.
//
//	go run ./test/bench/cluster -etcd .tools/bench-etcd
//
// Writes: -clients writers at the leader, each of which waits for its answer, beside as many
// at the leader of a group of three etcd on the same disk, by turns. A write of ours is a label of
// -bytes bytes on one of the hosts. Failover: the leader is killed, and how long it takes until another
// host acknowledges a write. DNS: a jail is declared, and how long it takes from the proposal until each host's own DNS
// server answers with its address. Jails are simulated.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

func main() {
	o := options{}
	flag.StringVar(&o.dir, "dir", "/var/tmp", "where both keep their data")
	flag.StringVar(&o.binary, "rexcarcer", "bin/rexcarcer", "the daemon")
	flag.StringVar(&o.loader, "etcd", ".tools/bench-etcd", "client of etcd; built when it is not there")
	flag.IntVar(&o.rounds, "rounds", 3, "measurements of writes of each, by turns")
	flag.IntVar(&o.kills, "kills", 9, "how often the leader is killed")
	flag.IntVar(&o.names, "names", 25, "jails that are declared")
	flag.DurationVar(&o.length, "length", 3*time.Second, "of each measurement of writes")
	flag.IntVar(&o.bytes, "bytes", 200, "bytes of a value")
	flag.Func("clients", "measure only so many clients (default 256, then 16, then 1)", func(s string) error {
		n, err := strconv.Atoi(s)
		o.clients = append(o.clients, n)
		return err
	})
	flag.Parse()
	if o.clients == nil {
		o.clients = []int{256, 16, 1}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench cluster:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, binary, loader         string
	rounds, kills, names, bytes int
	length                      time.Duration
	clients                     []int
}

func bench(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "bench-cluster-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t, err := form(ctx, o.binary, dir)
	if err != nil {
		return err
	}
	defer t.stop()
	rows, err := names(ctx, t, o)
	if err != nil {
		return err
	}
	writes, err := beside(ctx, t, dir, o)
	if err != nil {
		return err
	}
	again, err := failover(ctx, t, o)
	if err != nil {
		return err
	}
	rows = append(append(writes, again), rows...)
	if err := report.Write("cluster", rows); err != nil {
		return err
	}
	judge(rows)
	return nil
}

// judge says where a goal is missed.
func judge(rows []report.Row) {
	for _, r := range rows {
		ours := report.Median(r.Ours)
		switch {
		case r.Name == writesName(256) && r.Ratio() < 1.25:
			fmt.Printf("FELL SHORT: %s: %.2fx of etcd, the goal is 1.25x\n", r.Name, r.Ratio())
		case r.Name == writesName(1) && r.Ratio() < 1:
			fmt.Printf("FELL SHORT: %s: %.2fx of etcd, the goal is 1.0x\n", r.Name, r.Ratio())
		case r.Name == failoverName && ours > 2:
			fmt.Printf("FELL SHORT: %s: %.2f s, the goal is under 2 s\n", r.Name, ours)
		case r.Name == dnsName && ours > 50:
			fmt.Printf("FELL SHORT: %s: %.0f ms, the goal is 50 ms\n", r.Name, ours)
		}
	}
}
