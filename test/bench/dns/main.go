// Command dns measures dnsd beside CoreDNS's file plugin: the same 20,000
// records (A and SRV), the same shuffled queries, dnsperf as the client, by
// turns. It is run by `make bench BENCH=dns`.
//
//	go run ./test/bench/dns -coredns .tools/coredns
//
// Both servers listen on the loopback interface only, and end with the bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

func main() {
	coredns := flag.String("coredns", ".tools/coredns", "CoreDNS binary")
	rounds := flag.Int("rounds", 3, "measurements of each server, by turns")
	seconds := flag.Int("seconds", 3, "length of each measurement")
	serve := flag.String("serve", "", "(internal) serve the bench's zone with dnsd on this address")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *serve != "" {
		err = serveOurs(ctx, *serve)
	} else {
		err = bench(ctx, *coredns, *rounds, *seconds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench dns:", err)
		os.Exit(1)
	}
}

// bench starts both servers, measures and reports.
func bench(ctx context.Context, coredns string, rounds, seconds int) (err error) {
	dir, err := os.MkdirTemp("", "bench-dns")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, err := writeFiles(dir)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if coredns, err = filepath.Abs(coredns); err != nil {
		return err
	}
	ours, err := start(ctx, "127.0.0.1", portOurs, self, "-serve", fmt.Sprintf("127.0.0.1:%d", portOurs))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.stop()) }()
	peer, err := start(ctx, "127.0.0.1", portPeer, coredns, "-conf", files.corefile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peer.stop()) }()

	rate := report.Row{Name: "20,000 records, A and SRV", Unit: "q/s", PeerName: "coredns file", HigherIsBetter: true}
	cpu := report.Row{Name: "the same, per CPU second of the server", Unit: "q/CPU-s", PeerName: "coredns file", HigherIsBetter: true}
	p99 := report.Row{Name: "p99 latency at 20,000 q/s", Unit: "us", PeerName: "coredns file"}
	for range rounds {
		for _, side := range []struct {
			server         *server
			rate, cpu, p99 *[]float64
		}{{ours, &rate.Ours, &cpu.Ours, &p99.Ours}, {peer, &rate.Peer, &cpu.Peer, &p99.Peer}} {
			full, err := measure(ctx, side.server, files.queries, seconds)
			if err != nil {
				return err
			}
			latency, err := measureLatency(ctx, side.server, files.queries, seconds)
			if err != nil {
				return err
			}
			*side.rate, *side.cpu, *side.p99 = append(*side.rate, full.rate), append(*side.cpu, full.perCPU), append(*side.p99, latency)
		}
	}
	return report.Write("dns", []report.Row{rate, cpu, p99})
}
