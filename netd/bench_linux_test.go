package netd

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkAttach attaches jails to one network, one after the other and 16 at once; detaching is not measured. A meshed
// network goes on on other hosts: its jails are announced.
func BenchmarkAttach(b *testing.B) {
	for _, c := range []struct {
		workers int
		meshed  bool
	}{{1, false}, {1, true}, {16, false}, {16, true}} {
		b.Run(fmt.Sprintf("workers=%d/meshed=%v", c.workers, c.meshed), func(b *testing.B) {
			w := newWorld(b)
			d := w.driver("bench")
			n := netA()
			n.Subnet, n.Meshed = mustPrefix("10.64.0.0/14"), c.meshed
			if err := d.Set(b.Context(), Config{Networks: []Network{n}, Mesh: meshOf(0)}); err != nil {
				b.Fatal(err)
			}
			times := make([]time.Duration, b.N)
			next := make(chan int)
			var wg sync.WaitGroup
			cpu := cpuTime(b)
			b.ResetTimer()
			for range c.workers {
				wg.Go(func() {
					for i := range next {
						begin := time.Now()
						if _, err := d.Attach(b.Context(), benchJail(i)); err != nil {
							b.Error(err)
						}
						times[i] = time.Since(begin)
					}
				})
			}
			for i := range b.N {
				next <- i
			}
			close(next)
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/jail")
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "us-median")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jails/s")
		})
	}
}

// BenchmarkDetach detaches jails one after the other.
func BenchmarkDetach(b *testing.B) {
	w := newWorld(b)
	d := w.driver("bench")
	n := netA()
	n.Subnet = mustPrefix("10.64.0.0/14")
	mustSet(b, d, n)
	for i := range b.N {
		mustAttach(b, d, benchJail(i))
	}
	b.ResetTimer()
	for i := range b.N {
		if err := d.Detach(b.Context(), benchJail(i).ID); err != nil {
			b.Fatal(err)
		}
	}
}

func benchJail(i int) NSConfig {
	return jailWish(fmt.Sprintf("%08x", i), "alpha", fmt.Sprintf("10.64.%d.%d", 1+i/250, 1+i%250))
}

// cpuTime is what this process has used so far: steadier than the clock on a busy machine.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
