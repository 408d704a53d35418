// Command dhcp measures dhcpd beside Kea with its memfile and beside dnsmasq:
// perfdhcp as a relay in a namespace of its own, 500,000 machines that nobody
// has seen before, full exchanges. The figure is the highest rate at which
// less than one in a hundred is lost, looked for anew in each round, by turns.
// Ours commits and syncs each lease before the ACK. It is run by
// `make bench BENCH=dhcp`, as root; `make dhcp-flood` is its attack on ours.
//
//	go run ./test/bench/dhcp -rounds 3
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

func main() {
	rounds := flag.Int("rounds", 3, "searches for each server, by turns")
	seconds := flag.Int("seconds", 4, "length of each measurement")
	flood := flag.Int("flood", 0, "instead: so many strangers, then declines and nonsense, against ours; prints memory and goroutines")
	serve := flag.String("serve", "", "(internal) serve DHCP with the log in this directory")
	attack := flag.Int("attack", 0, "(internal) be so many strangers")
	fill := flag.Int("fill", 0, "(internal) leases that are there when it begins")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *serve != "":
		err = serveOurs(ctx, *serve, *fill)
	case *attack > 0:
		err = attackOurs(*attack)
	case *flood > 0:
		err = floodOurs(ctx, *flood)
	default:
		err = bench(ctx, *rounds, *seconds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench dhcp:", err)
		os.Exit(1)
	}
}

// bench searches by turns and reports.
func bench(ctx context.Context, rounds, seconds int) (err error) {
	w, err := newWire(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	sides := []side{ours, kea, dnsmasq}
	rates, cpu := map[string][]float64{}, map[string][]float64{}
	for round := range rounds {
		for _, s := range sides {
			b, err := w.search(ctx, s, seconds)
			if err != nil {
				return fmt.Errorf("round %d: %s: %w", round+1, s.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d: %s %.0f exchanges/s\n", round+1, s.name, b.rate)
			rates[s.name], cpu[s.name] = append(rates[s.name], b.rate), append(cpu[s.name], b.cpu)
		}
	}
	rss, err := w.memory(ctx, 100_000)
	if err != nil {
		return err
	}
	return report.Write("dhcp", []report.Row{
		{Name: "exchanges below 1% loss", Unit: "exchanges/s", Ours: rates[ours.name], Peer: rates[kea.name], PeerName: "kea memfile", HigherIsBetter: true},
		{Name: "exchanges below 1% loss", Unit: "exchanges/s", Ours: rates[ours.name], Peer: rates[dnsmasq.name], PeerName: "dnsmasq", HigherIsBetter: true},
		{Name: "processor time at that rate", Unit: "µs/exchange", Ours: cpu[ours.name], Peer: cpu[kea.name], PeerName: "kea memfile"},
		{Name: "memory at 100,000 leases", Unit: "MiB", Ours: []float64{rss}},
	})
}
