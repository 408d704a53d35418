// Command raft measures acknowledged writes a second of a group of one, fsync
// on: ours through cluster.Node.Propose, etcd's through its own Go client.
//
//	go run ./test/bench/raft -etcd .tools/bench-etcd
//
// Both keep their data in one directory of one disk, both serve -clients
// writers that each wait for their answer, both entries hold -bytes bytes, and
// they are measured by turns. What we propose is ReportRun, the Command of
// which a cluster sees most: it is decoded, checked and folded into State.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// goal is how many times as many writes a second as etcd 256 clients shall get.
const goal = 2.0

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "/var/tmp", "where both keep their data")
	flag.StringVar(&o.loader, "etcd", ".tools/bench-etcd", "client of etcd; built when it is not there")
	flag.IntVar(&o.rounds, "rounds", 3, "measurements of each, by turns")
	flag.DurationVar(&o.length, "length", 3*time.Second, "of each measurement")
	flag.IntVar(&o.bytes, "bytes", 256, "bytes of an entry")
	flag.Func("clients", "measure only so many clients (default 256, then 16, then 1)", func(s string) error {
		n, err := strconv.Atoi(s)
		o.clients = append(o.clients, n)
		return err
	})
	flag.BoolVar(&o.alone, "alone", false, "measure ours only")
	profile := flag.String("cpuprofile", "", "write a profile of our side to this `FILE`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := profiled(*profile, func() error { return bench(ctx, o) }); err != nil {
		fmt.Fprintln(os.Stderr, "bench raft:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, loader   string
	rounds, bytes int
	length        time.Duration
	alone         bool
	clients       []int
}

func profiled(name string, do func() error) error {
	if name == "" {
		return do()
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	err = do()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}

func bench(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "bench-raft")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	node, err := openOurs(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.close()) }()
	var peer *etcd
	if !o.alone {
		if peer, err = startEtcd(ctx, dir, o.loader); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, peer.stop()) }()
	}
	var rows []report.Row
	if o.clients == nil {
		o.clients = []int{256, 16, 1}
	}
	for _, clients := range o.clients {
		row := report.Row{Name: fmt.Sprintf("writes, group of one, %d clients, %d bytes", clients, o.bytes), Unit: "writes/s", PeerName: "etcd", HigherIsBetter: true}
		for range o.rounds {
			rate, err := node.measure(ctx, clients, o.bytes, o.length)
			if err != nil {
				return err
			}
			row.Ours = append(row.Ours, rate)
			if peer == nil {
				continue
			}
			if rate, err = peer.measure(ctx, clients, o.bytes, o.length); err != nil {
				return err
			}
			row.Peer = append(row.Peer, rate)
		}
		rows = append(rows, row)
	}
	if err := report.Write("raft", rows); err != nil {
		return err
	}
	if r := rows[0].Ratio(); peer != nil && o.clients[0] == 256 && r < goal {
		fmt.Printf("FELL SHORT: %.2fx of etcd at 256 clients, the goal is %.0fx\n", r, goal)
	}
	return nil
}
