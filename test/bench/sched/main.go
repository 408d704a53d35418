// Command sched measures how many jails a second the scheduler places, whole
// calls of scheduler.Schedule with every feasible host scored, on one core.
//
// The unit is placements per second of processor time of this process, which
// on one core is the same as per second and does not suffer from what else the
// machine does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/scheduler"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// What Nomad 2.0 was measured to do on a machine of this kind (two cores of an
// AMD EPYC, Go 1.26), in placements a second: what we compare with where the
// peer cannot be built. Nomad scores log2(n) hosts a placement, more under a
// spread.
const (
	statedName        = "Nomad 2.0 service (stated, not run)"
	statedNomad1000   = 14_600
	statedNomad5000   = 7_000
	statedNomadSpread = 60
)

// jails are placed in one call; group by group.
const jails = 5000

type scenario struct {
	name       string
	hosts      int
	replicas   int // of each group
	attributes string
	stated     float64
}

var scenarios = []scenario{
	{"place, 1000 hosts, groups of 500", 1000, 500, "", statedNomad1000},
	{"place, 1000 hosts, every jail its own group", 1000, 1, "", statedNomad1000},
	{"place, 5000 hosts, groups of 500", 5000, 500, "", statedNomad5000},
	{"place, 5000 hosts, every jail its own group", 5000, 1, "", statedNomad5000},
	{"spread over 25 racks, 1000 hosts, groups of 500", 1000, 500, "spread=rack", statedNomadSpread},
	{"spread over 25 racks, 1000 hosts, own groups", 1000, 1, "spread=rack", statedNomadSpread},
	{"spread over 25 racks, 5000 hosts, groups of 500", 5000, 500, "spread=rack", statedNomadSpread},
	{"spread over 25 racks, 5000 hosts, own groups", 5000, 1, "spread=rack", statedNomadSpread},
}

func main() {
	rounds := flag.Int("rounds", 3, "rounds of each scenario")
	nomad := flag.String("nomad", ".tools/nomad-sched.test", "Nomad's scheduler as a test binary; built when it is not there. Empty: stated figures")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rounds, *nomad); err != nil {
		fmt.Fprintln(os.Stderr, "bench sched:", err)
		os.Exit(1)
	}
}

// run measures ours and the peer in turn, and stores the table.
func run(ctx context.Context, rounds int, nomad string) error {
	var other *peer
	name := statedName
	if nomad != "" {
		p, err := buildPeer(ctx, nomad)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench sched: comparing with stated figures:", err)
		} else {
			other, name = p, peerName
		}
	}
	rows := make([]report.Row, len(scenarios))
	stages := make([]*stage.Stage, len(scenarios))
	for i, sc := range scenarios {
		rows[i] = report.Row{Name: sc.name, Unit: "placements/cpu-s", PeerName: name, HigherIsBetter: true}
		stages[i] = stage.Crowd(sc.hosts, jails, sc.replicas, sc.attributes)
	}
	for range rounds {
		for i, sc := range scenarios {
			ours, err := measure(stages[i])
			if err != nil {
				return fmt.Errorf("%s: %w", sc.name, err)
			}
			theirs := sc.stated
			if other != nil {
				if theirs, err = other.measure(ctx, sc); err != nil {
					return fmt.Errorf("%s: %w", sc.name, err)
				}
			}
			rows[i].Ours = append(rows[i].Ours, ours)
			rows[i].Peer = append(rows[i].Peer, theirs)
		}
	}
	return report.Write("sched", rows)
}

// measure calls Schedule until a third of a second of processor time is spent.
func measure(st *stage.Stage) (float64, error) {
	runtime.GC()
	const least = time.Second / 3
	placed := 0
	begin := cpuTime()
	for {
		d := scheduler.Schedule(st.S, st.Now())
		if len(d.Commands) != jails {
			return 0, fmt.Errorf("%d of %d jails were placed, the first that waits: %+v", len(d.Commands), jails, d.Pending[0])
		}
		placed += jails
		if spent := cpuTime() - begin; spent >= least {
			return float64(placed) / spent.Seconds(), nil
		}
	}
}
