package scheduler

import (
	"fmt"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
)

const benchJails = 2000

// benchmark times whole calls of Schedule: look at every jail and its Run,
// filter and score every host, choose, build the Commands.
func benchmark(b *testing.B, hosts, replicas int, attributes string) {
	st := stage.Crowd(hosts, benchJails, replicas, attributes)
	b.ReportAllocs()
	for b.Loop() {
		if d := Schedule(st.S, st.Now()); len(d.Commands) != benchJails {
			b.Fatalf("got %d commands, want %d; pending %+v", len(d.Commands), benchJails, d.Pending)
		}
	}
	b.ReportMetric(benchJails*float64(b.N)/b.Elapsed().Seconds(), "placements/s")
}

func benchmarkPlace(b *testing.B, hosts int, attributes string) {
	for _, replicas := range []int{benchJails, 200, 10, 1} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) { benchmark(b, hosts, replicas, attributes) })
	}
}

func BenchmarkPlace1000(b *testing.B)     { benchmarkPlace(b, 1000, "") }
func BenchmarkPlace5000(b *testing.B)     { benchmarkPlace(b, 5000, "") }
func BenchmarkSpread25x1000(b *testing.B) { benchmarkPlace(b, 1000, "spread=rack") }
func BenchmarkSpread25x5000(b *testing.B) { benchmarkPlace(b, 5000, "spread=rack") }
func BenchmarkBinPack5000(b *testing.B)   { benchmarkPlace(b, 5000, "binpack") }
func BenchmarkConstraint5000(b *testing.B) {
	benchmarkPlace(b, 5000, "constraint=rack_in_[r1,r2,r3]_or_cpu_>=_16")
}

// BenchmarkIdle is what a call costs that finds nothing to do: every report
// of every agent leads to one.
func BenchmarkIdle(b *testing.B) {
	for _, jails := range []int{100, 10_000} {
		b.Run(fmt.Sprint(jails), func(b *testing.B) {
			st := stage.Crowd(100, jails, 50, "cpu=0.01")
			for _, c := range Schedule(st.S, st.Now()).Commands {
				st.Must(c)
			}
			st.Agents()
			b.ReportAllocs()
			for b.Loop() {
				if d := Schedule(st.S, st.Now()); len(d.Commands)+len(d.Pending) > 0 {
					b.Fatalf("%+v", d)
				}
			}
		})
	}
}

// BenchmarkNaive is the reference, for scale.
func BenchmarkNaive(b *testing.B) {
	const jails = 20
	st := stage.Crowd(1000, jails, jails, "")
	p := newPass(st.S, st.Now())
	for _, g := range p.groups {
		p.scanGroup(g)
	}
	var got []fsm.Command
	for b.Loop() {
		got, _ = naive(st.S, p.start)
	}
	if len(got) != jails {
		b.Fatalf("got %d, want %d", len(got), jails)
	}
	b.ReportMetric(jails*float64(b.N)/b.Elapsed().Seconds(), "placements/s")
}
