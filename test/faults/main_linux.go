package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "/var/tmp", "where the hosts keep their data")
	flag.StringVar(&o.binary, "rexcarcer", "bin/rexcarcer", "the daemon")
	flag.StringVar(&o.only, "only", "", "only faults whose name has this in it")
	flag.IntVar(&o.times, "times", 0, "do each so often instead of as often as it says")
	flag.BoolVar(&o.settings.short, "short", false, "each fault once, and time is not judged")
	flag.IntVar(&o.settings.clients, "clients", 12, "that write and read")
	flag.DurationVar(&o.settings.pace, "pace", 5*time.Millisecond, "of each client, between two calls")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := all(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, binary, only string
	times             int
	settings          settings
}

// all does the faults that were chosen, in one cluster, and prints the table.
func all(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("not root: network namespaces and disks need it")
	}
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "rc-faults-")
	if err != nil {
		return err
	}
	begun := time.Now()
	l, err := newLab(ctx, dir, binary, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	if err != nil {
		return err
	}
	var rows []row
	for _, f := range faults() {
		if !strings.Contains(f.name, o.only) {
			continue
		}
		if o.times > 0 {
			f.times = o.times
		}
		at := time.Now()
		var r row
		r, err = l.do(ctx, f, o.settings)
		rows = append(rows, r)
		l.say("%s: %d times in %s", f.name, r.times, time.Since(at).Round(time.Second))
		if err != nil {
			l.tell(os.Stderr)
			break
		}
	}
	table(rows)
	fmt.Printf("%d hosts, %d clients; whole run %s\n", len(l.all), o.settings.clients, time.Since(begun).Round(time.Second))
	if err = errors.Join(err, l.close()); err != nil {
		return fmt.Errorf("%w\nlogs and disks are kept in %s", err, dir)
	}
	return os.RemoveAll(dir)
}

func table(rows []row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tTIMES\tACKNOWLEDGED\tLOST\tUNKNOWN\tLINEARIZABLE\tHASH EQUAL\tWRITES AGAIN med/max\tALL WELL med/max")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", r.name, r.times, r.acked, r.lost, r.unknown, yes(r.broken), yes(r.differ), spread(r.again), spread(r.well))
	}
	_ = w.Flush() // to a terminal
}

func yes(not int) string {
	if not == 0 {
		return "yes"
	}
	return fmt.Sprintf("NO, %d times", not)
}

// spread is the median and the highest.
func spread(times []time.Duration) string {
	if len(times) == 0 {
		return "-"
	}
	sorted := slices.Sorted(slices.Values(times))
	return fmt.Sprintf("%.2f / %.2f s", sorted[len(sorted)/2].Seconds(), sorted[len(sorted)-1].Seconds())
}
