// Command apply measures one apply of 100 jails on a real daemon: jails a
// second until all of them run with address, DNS records and certificate, and
// what the daemon then holds in memory. It is run as root.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/test/bench/live"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// The goals, which stand in the peer's column: there is no peer.
const (
	goalRate = 60.0  // jails a second
	goalMiB  = 150.0 // resident
)

const metrics = "27373" // port

func main() {
	binary := flag.String("rexcarcer", "bin/rexcarcer", "the daemon")
	dir := flag.String("dir", "/var/tmp", "where it keeps its data")
	n := flag.Int("jails", 100, "jails of the apply")
	rounds := flag.Int("rounds", 3, "applies, each in a fresh daemon")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := bench(ctx, *binary, *dir, *n, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench apply:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, binary, dir string, n, rounds int) error {
	rate := report.Row{Name: fmt.Sprintf("%d jails by one apply, until all run", n), Unit: "jails/s", PeerName: "goal", HigherIsBetter: true}
	memory := report.Row{Name: fmt.Sprintf("resident memory of the daemon with %d jails", n), Unit: "MiB", PeerName: "goal"}
	routines := report.Row{Name: "goroutines a jail", Unit: ""}
	for range rounds {
		r, err := measure(ctx, binary, dir, n)
		if err != nil {
			return err
		}
		rate.Ours, rate.Peer = append(rate.Ours, r.rate), append(rate.Peer, goalRate)
		memory.Ours, memory.Peer = append(memory.Ours, r.mib), append(memory.Peer, goalMiB)
		routines.Ours = append(routines.Ours, r.routines)
	}
	if err := report.Write("apply", []report.Row{rate, memory, routines}); err != nil {
		return err
	}
	for _, r := range []report.Row{rate, memory} {
		if r.Ratio() < 1 {
			fmt.Printf("FELL SHORT: %s: %.1f %s, the goal is %.0f\n", r.Name, report.Median(r.Ours), r.Unit, report.Median(r.Peer))
		}
	}
	return nil
}

type result struct{ rate, mib, routines float64 }

func measure(ctx context.Context, binary, dir string, n int) (r result, err error) {
	d, err := live.Start(ctx, binary, dir, "-metrics-port", metrics)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	before, err := goroutines()
	if err != nil {
		return r, err
	}
	w, err := d.Wish("bench", n, false)
	if err != nil {
		return r, err
	}
	done, err := d.Client.ApplyWish(ctx, w, 0)
	if err != nil {
		return r, err
	}
	follow, stop := context.WithCancel(ctx)
	defer stop()
	story := d.Follow(follow, done.Index-1)
	jails, err := story.Wait(ctx, n, func(t live.Times) bool { return !t.Running.IsZero() && !t.Certified.IsZero() })
	stop()
	if err != nil {
		return r, err
	}
	var last time.Time
	for _, t := range jails {
		if t.Running.After(last) {
			last = t.Running
		}
	}
	r.rate = float64(n) / last.Sub(story.Applied).Seconds()
	if err := complete(ctx, d, n); err != nil {
		return r, err
	}
	if r.mib, err = resident(d.PID()); err != nil {
		return r, err
	}
	after, err := goroutines()
	r.routines = (after - before) / float64(n)
	return r, err
}

// complete checks that each jail has an address, a name and a certificate.
func complete(ctx context.Context, d *live.Daemon, n int) error {
	jails, err := d.Client.Jails(ctx, live.OfBench)
	if err != nil {
		return err
	}
	records, err := d.Client.Records(ctx, "")
	if err != nil {
		return err
	}
	certs, err := d.Client.Certs(ctx)
	if err != nil {
		return err
	}
	named, certified := map[string]bool{}, map[string]bool{}
	for _, r := range records {
		named[r.Jail] = named[r.Jail] || r.Type == "A"
	}
	for _, c := range certs {
		certified[c.Jail] = c.State == "issued"
	}
	for _, j := range jails {
		if j.Phase != "running" || len(j.Addresses) == 0 || !named[j.Name] || !certified[j.Name] {
			return fmt.Errorf("jail %s is not complete: %+v, name %v, certificate %v", j.Name, j, named[j.Name], certified[j.Name])
		}
	}
	if len(jails) != n {
		return fmt.Errorf("%d jails are there, %d were applied", len(jails), n)
	}
	return nil
}

// resident is VmRSS of proc_pid_status(5) in MiB.
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/PID/status")
}

func goroutines() (float64, error) {
	resp, err := http.Get("http://127.0.0.1:" + metrics + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, errors.Join(errors.New("no go_goroutines in /metrics"), lines.Err())
}
