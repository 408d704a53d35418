// Command dns measures dnsd beside unbound, NSD and CoreDNS's file plugin: the
// same 20,000 records (A and SRV), the same shuffled queries with EDNS and a
// cookie, dnsperf as the client, by turns. Meanwhile a record of ours changes every 20 ms; the peers'
// stay as they are. It is run by `make bench BENCH=dns`.
//
//	go run ./test/bench/dns -coredns .tools/coredns
//
// All servers listen on the loopback interface only, and end with the bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/rexcarcer/rexcarcer/dnsd"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

func main() {
	coredns := flag.String("coredns", "", "CoreDNS binary; without it CoreDNS is not measured")
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

// side is one server and what was measured of it, a value a round.
type side struct {
	server         *server
	rate, cpu, p99 []float64
}

// bench starts the servers, measures and reports.
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
	commands := []struct {
		name string
		port int
		argv []string
	}{
		{"dnsd", portOurs, []string{self, "-serve", fmt.Sprintf("127.0.0.1:%d", portOurs)}},
		{"unbound", portUnbound, []string{"unbound", "-d", "-c", files.unbound}},
		{"nsd", portNSD, []string{"nsd", "-d", "-c", files.nsd}},
	}
	if coredns != "" {
		if coredns, err = filepath.Abs(coredns); err != nil {
			return err
		}
		commands = append(commands, commands[0])
		last := &commands[len(commands)-1]
		last.name, last.port, last.argv = "coredns file", portCoreDNS, []string{coredns, "-conf", files.corefile}
	}
	var sides []*side
	for _, c := range commands {
		s, err := start(ctx, c.name, "127.0.0.1", c.port, c.argv...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.stop()) }()
		sides = append(sides, &side{server: s})
	}
	for range rounds {
		for _, s := range sides {
			if err := s.round(ctx, files.queries, seconds); err != nil {
				return err
			}
		}
	}
	return report.Write("dns", append(rows(sides), publishRows(rounds)...))
}

// publishRows is how long new records take to be served: 10,000 at once, and one
// that changes among 20,000. Peers have no like.
func publishRows(rounds int) []report.Row {
	all := report.Row{Name: "10,000 records are served", Unit: "ms"}
	one := report.Row{Name: "a change of one of 20,000 is served", Unit: "ms"}
	whole, half := table(), table()
	half.Records = half.Records[:records/2]
	handler := dnsd.NewHandler(nil, nil)
	took := func(publish func() *dnsd.Zone) float64 {
		began := time.Now()
		handler.SetZone(publish())
		return float64(time.Since(began).Microseconds()) / 1000
	}
	for range max(rounds, 5) {
		all.Ours = append(all.Ours, took(func() *dnsd.Zone { return dnsd.NewZone(half) }))
		handler.SetZone(dnsd.NewZone(whole))
		one.Ours = append(one.Ours, took(func() *dnsd.Zone {
			r := whole.Records[0]
			r.Addr = r.Addr.Next()
			return handler.Zone().With(2, []dnsd.Set{{Name: r.Name, Type: r.Type, Records: []dnsd.Record{r}}})
		}))
	}
	return []report.Row{all, one}
}

func (s *side) round(ctx context.Context, queries string, seconds int) error {
	full, err := measure(ctx, s.server, queries, seconds)
	if err != nil {
		return err
	}
	latency, err := measureLatency(ctx, s.server, queries, seconds)
	if err != nil {
		return err
	}
	s.rate, s.cpu, s.p99 = append(s.rate, full.rate), append(s.cpu, full.perCPU), append(s.p99, latency)
	return nil
}

// rows has ours, the first of sides, beside each of the others.
func rows(sides []*side) (rows []report.Row) {
	ours := sides[0]
	for _, peer := range sides[1:] {
		rows = append(rows,
			report.Row{Name: "20,000 records, A and SRV", Unit: "q/s", PeerName: peer.server.name, HigherIsBetter: true, Ours: ours.rate, Peer: peer.rate},
			report.Row{Name: "the same, per CPU second of the server", Unit: "q/CPU-s", PeerName: peer.server.name, HigherIsBetter: true, Ours: ours.cpu, Peer: peer.cpu},
			report.Row{Name: "p99 latency at 20,000 q/s", Unit: "us", PeerName: peer.server.name, Ours: ours.p99, Peer: peer.p99})
	}
	return rows
}
