package fsm

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// bigState has n jails in wishes of 1,000, each placed, running and healthy.
func bigState(tb testing.TB, n int) *log {
	tb.Helper()
	l := newLog(tb)
	for i := range 100 {
		h := host(fmt.Sprintf("h%03d", i))
		h.Host.Capacity = Resources{MilliCPU: 1 << 40, MemoryBytes: 1 << 60}
		l.must(h)
	}
	for w := range (n + 999) / 1000 {
		wish := testWish(fmt.Sprintf("w%03d", w), fmt.Sprintf("10.%d.%d.0/21", w/32, w%32*8), min(n-w*1000, 1000))
		l.must(ApplyWish{Wish: wish})
		var items []Item
		for i := range wish.Jails {
			j, h := JailName(wish.Jails[i].Name), HostID(fmt.Sprintf("h%03d", i%100))
			items = append(items, l.item(PlaceJail{Jail: j, Host: h, Seq: 1, Why: "bench"}),
				l.item(ReportRun{Jail: j, Host: h, Seq: 1, Phase: Running, Health: HealthHealthy}))
		}
		l.all(items)
	}
	l.items = nil
	return l
}

func (l *log) all(items []Item) {
	l.tb.Helper()
	s, _, errs := ApplyAll(l.s, items)
	for i, err := range errs {
		if err != nil {
			l.tb.Fatalf("index %d: %v", items[i].Index, err)
		}
	}
	l.s = s
}

// BenchmarkApply: what one entry costs must not grow with the cluster. The
// log is decoded too, as a replica does it.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		l := bigState(b, n)
		place := benchPlace(l, n)
		for _, c := range []struct {
			name  string
			batch int
			next  func(i int) Command
		}{
			{"report", 1, benchReport(n)},
			{"report-batch64", 64, benchReport(n)},
			{"place", 1, place},
			{"wish100", 1, func(i int) Command {
				return ApplyWish{Wish: testWish(fmt.Sprintf("new%d", i), fmt.Sprintf("172.%d.%d.0/24", 16+i/256%16, i%256), 100)}
			}},
		} {
			b.Run(fmt.Sprintf("%s/jails=%d", c.name, n), func(b *testing.B) { l.bench(b, c.batch, c.next) })
		}
	}
}

// bench applies to the same State again and again, so that it does not grow.
func (l *log) bench(b *testing.B, batch int, next func(i int) Command) {
	const kinds = 256
	raws := make([][]byte, kinds)
	for i := range raws {
		raw, err := Encode(Entry{V: Version, ID: fmt.Sprintf("01BENCHMARK%015d", i), At: l.now, By: "bench", Cmd: next(i)})
		if err != nil {
			b.Fatal(err)
		}
		raws[i] = raw
	}
	items := make([]Item, batch)
	n := 0
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	for b.Loop() {
		for k := range items {
			raw := raws[n%kinds]
			e, err := Decode(raw)
			if err != nil {
				b.Fatal(err)
			}
			items[k] = Item{l.index + 1 + uint64(k), e, raw}
			n++
		}
		_, _, errs := ApplyAll(l.s, items)
		for _, err := range errs {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	cpu = cpuTime() - cpu
	b.ReportMetric(float64(cpu)/float64(n), "cpu-ns/entry")
	b.ReportMetric(float64(n)/cpu.Seconds(), "entries/cpu-s")
	b.ReportMetric(float64(len(raws[0])), "bytes/entry")
}

func benchReport(n int) func(int) Command {
	return func(i int) Command {
		k := i * 7919 % n
		return ReportRun{
			Jail: JailName(fmt.Sprintf("w%03d-web-%d", k/1000, k%1000+1)), Host: HostID(fmt.Sprintf("h%03d", k%1000%100)),
			Seq: 1, Phase: Running, Health: HealthHealthy, Reason: fmt.Sprintf("check %d took 12 ms", i),
		}
	}
}

// benchPlace ends the first Run of 256 jails, and places their second.
func benchPlace(l *log, n int) func(int) Command {
	jail := func(i int) (JailName, HostID) {
		k := (i*7919 + 1) % n
		return JailName(fmt.Sprintf("w%03d-web-%d", k/1000, k%1000+1)), HostID(fmt.Sprintf("h%03d", k%1000%100))
	}
	var over []Item
	for i := range 256 {
		j, h := jail(i)
		over = append(over, l.item(ReportRun{Jail: j, Host: h, Seq: 1, Phase: Failed}))
	}
	l.all(over)
	return func(i int) Command {
		j, h := jail(i)
		return PlaceJail{Jail: j, Host: h, Seq: 2, Why: "bench: least loaded of 100 hosts"}
	}
}

// BenchmarkLease is one more jail in a network that has 65,000 leases.
func BenchmarkLease(b *testing.B) {
	for _, n := range []int{100, 65_000} {
		l := newLog(b)
		w := testWish("big", "10.0.0.0/16", n)
		s, _, err := Apply(l.s, l.index+1, Entry{V: Version, At: l.now, Cmd: ApplyWish{Wish: w}}, nil)
		if err != nil {
			b.Fatal(err)
		}
		l.s, l.index = s, l.index+1
		l.must(WantJail{Jail: "big-web-50", Want: WantGone})
		l.now += Time(2 * time.Minute)
		one := testWish("one", "10.1.0.0/24", 1)
		one.Networks = nil
		one.Jails[0].NICs[0].Network = "big-net"
		b.Run(fmt.Sprintf("leases=%d", n), func(b *testing.B) {
			l.bench(b, 1, func(int) Command { return ApplyWish{Wish: one} })
		})
	}
}

// BenchmarkSnapshot writes and reads a State of 100,000 jails.
func BenchmarkSnapshot(b *testing.B) {
	l := bigState(b, 100_000)
	var buf bytes.Buffer
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			buf.Reset()
			if err := Write(&buf, l.s); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(buf.Len()), "bytes")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := Read(bytes.NewReader(buf.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// cpuTime of this process: unlike the clock it does not count what others
// do on a busy machine.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
