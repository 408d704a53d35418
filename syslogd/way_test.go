package syslogd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// daemon is what Collect hands messages to.
type daemon struct {
	mu   sync.Mutex
	got  []string // "FROM TEXT"
	lost int
}

func (d *daemon) take(from netip.Addr, raw []byte) {
	m := Parse(raw)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got = append(d.got, from.String()+" "+m.Text)
}

func (d *daemon) miss(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost += n
}

func (d *daemon) until(t *testing.T, what string, ok func(got []string, lost int) bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		d.mu.Lock()
		done, got, lost := ok(d.got, d.lost), len(d.got), d.lost
		d.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s, %d messages came, %d were lost", what, got, lost)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// run calls f until the test ends, and fails the test with its error.
func run(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func listenUnix(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func write(t *testing.T, network string, to netip.AddrPort, text string) {
	t.Helper()
	c, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesReachTheDaemonAlsoThoseOfBeforeItWasThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "syslog")
	logger := slog.New(slog.DiscardHandler)
	relay := NewRelay(path, logger)
	s, err := Listen(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, relay.Take, relay.Lost, logger)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.Run)
	run(t, relay.Run)
	at := s.Addrs()[0]
	write(t, "udp", at, "<13>a: early")
	var d daemon
	serve := func() (stop func()) {
		l := listenUnix(t, path)
		return run(t, func(ctx context.Context) error { return Collect(ctx, l, d.take, d.miss, logger) })
	}
	has := func(want ...string) func([]string, int) bool {
		return func(got []string, _ int) bool {
			return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got, "127.0.0.1 "+w) })
		}
	}
	stop := serve()
	d.until(t, "a message of before the daemon was there", has("early"))
	write(t, "tcp", at, "<13>a: over TCP\n12 <13>a: count")
	d.until(t, "messages over TCP", has("over TCP", "count"))
	stop()
	write(t, "udp", at, "<13>a: meanwhile") // the relay may only now find that the daemon is gone
	write(t, "udp", at, "<13>a: and then")
	serve()
	write(t, "udp", at, "<13>a: late")
	d.until(t, "messages after a restart of the daemon", has("and then", "late"))
}

func TestASourceThatFloodsIsHeldBackAndCounted(t *testing.T) {
	t.Parallel()
	var d daemon
	logger := slog.New(slog.DiscardHandler)
	s, err := Listen(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, d.take, d.miss, logger)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.Run)
	const sent = 20_000
	write(t, "tcp", s.Addrs()[0], strings.Repeat("<13>a: flood\n", sent))
	d.until(t, "all of the flood is counted", func(got []string, lost int) bool { return len(got)+lost == sent })
	if d.lost == 0 || len(d.got) < burst {
		t.Errorf("%d of %d messages were taken, want at least %d and not all", len(d.got), sent, burst)
	}
}

func TestConnectionsOfOneSourceAreBounded(t *testing.T) {
	t.Parallel()
	var d daemon
	s, err := Listen(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, d.take, d.miss, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.Run)
	for range maxConnsOfOne {
		c, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("<13>a: here\n")); err != nil {
			t.Fatal(err)
		}
	}
	d.until(t, "the connections that may", func(got []string, _ int) bool { return len(got) == maxConnsOfOne })
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("one connection too many: read %d, %v, want it to be closed", n, err)
	}
}

func TestARelayKeepsABoundedAmountWhileTheDaemonIsAway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "syslog")
	relay := NewRelay(path, slog.New(slog.DiscardHandler))
	from := netip.MustParseAddr("10.0.0.3")
	const each = 8000
	text := strings.Repeat("x", each-10)
	for i := range 2 * maxWaiting / each {
		relay.Take(from, fmt.Appendf(nil, "<13>%05d %s", i, text))
	}
	relay.Lost(3)
	var d daemon
	l := listenUnix(t, path)
	run(t, func(ctx context.Context) error { return Collect(ctx, l, d.take, d.miss, slog.New(slog.DiscardHandler)) })
	run(t, relay.Run)
	d.until(t, "what was kept and what was not", func(got []string, lost int) bool { return len(got)+lost == 2*maxWaiting/each+3 })
	if len(d.got)*each > maxWaiting || len(d.got)*each < maxWaiting*9/10 {
		t.Errorf("%d messages of %d bytes were kept, want about %d bytes", len(d.got), each, maxWaiting)
	}
	if !strings.HasPrefix(d.got[0], "10.0.0.3 00000 ") {
		t.Errorf("the first one is %.40q, want that of 00000", d.got[0])
	}
}
