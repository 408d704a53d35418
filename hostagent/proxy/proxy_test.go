package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// lab is a real haproxy with members that say who they are and who asks.
type lab struct {
	t    *testing.T
	p    *Proxy
	conf Config
	now  time.Time
}

func newLab(t *testing.T, ports int) *lab {
	t.Helper()
	binary := testenv.RequireTool(t, "haproxy")
	dir, err := os.MkdirTemp("", "rexhap") //nolint:usetesting // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l := &lab{t: t, p: New(dir), conf: Config{Run: dir}, now: time.Now()}
	for range ports {
		port, err := testenv.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		l.conf.Ports = append(l.conf.Ports, Port{Port: uint16(port), Drain: time.Minute})
	}
	if err := l.p.Write(l.conf); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if _, err := (run.Real{}).Run(ctx, run.Cmd{Argv: Argv(binary, dir), Stdout: testWriter{t}, Stderr: testWriter{t}, Timeout: 5 * time.Minute}); err != nil && ctx.Err() == nil {
			t.Errorf("haproxy ended: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	l.settle()
	return l
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// member is a server that answers with its name and the headers that tell who asked.
func (l *lab) member(name string, hold *atomic.Pointer[chan struct{}]) netip.AddrPort {
	l.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := hold.Load(); c != nil && r.URL.Path == "/slow" {
			select {
			case <-*c:
			case <-r.Context().Done():
			}
		}
		fmt.Fprintf(w, "%s %s %s", name, r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Port"))
	}))
	l.t.Cleanup(s.Close)
	return netip.MustParseAddrPort(strings.TrimPrefix(s.URL, "http://"))
}

// settle converges until there is nothing left to do but to wait for drains.
func (l *lab) settle() {
	l.t.Helper()
	var err error
	retry := time.Now().Add(2 * reloadPause)
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
		if time.Now().After(retry) { // a reload that came while haproxy was starting is lost: the next one is not
			l.now, retry = l.now.Add(reloadPause), retry.Add(reloadPause)
		}
		var again time.Duration
		again, err = l.p.Converge(l.t.Context(), l.conf, l.now)
		if err == nil && again != LookAgain {
			return
		}
		pause(l.t, 20*time.Millisecond)
	}
	l.t.Fatalf("haproxy does not become as it shall be: %v", err)
}

func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func (l *lab) get(port uint16, path string) (string, error) {
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), http.NoBody)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Forwarded-For", "6.6.6.6") // a lie
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, b), err
}

func (l *lab) count(port uint16, times int) map[string]int {
	l.t.Helper()
	got := map[string]int{}
	for range times {
		answer, err := l.get(port, "/")
		if err != nil {
			l.t.Fatal(err)
		}
		got[answer]++
	}
	return got
}

func TestMembersComeAndGoByTheRuntimeSocketWithoutAReload(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	port := l.conf.Ports[0].Port
	if got := l.count(port, 1); len(got) != 1 || !strings.HasPrefix(first(got), "503 ") {
		t.Errorf("without members: got %v, want 503", got)
	}
	pid := l.pid()
	var hold atomic.Pointer[chan struct{}]
	one, two := l.member("one", &hold), l.member("two", &hold)
	l.conf.Ports[0].Members = []netip.AddrPort{one, two}
	l.settle()
	seen := fmt.Sprintf(" 127.0.0.1 %d", port)
	if got := l.count(port, 6); got["200 one"+seen] != 3 || got["200 two"+seen] != 3 {
		t.Errorf("got %v, want each 3 times, with the address of who asked and not what it claims", got)
	}
	stats, err := l.p.Stats(l.t.Context())
	if err != nil || len(stats) != 2 || stats[0].Port != port || stats[0].Member != one.String() && stats[0].Member != two.String() ||
		stats[0].State != "up" || stats[0].Requests != 3 || stats[0].Codes[2] != 3 || stats[0].Out == 0 {
		t.Errorf("got statistics %+v, %v", stats, err)
	}

	// A request goes on while its member leaves, and a new daemon knows no more than what haproxy says.
	gate := make(chan struct{})
	hold.Store(&gate)
	slow := make(chan string, 1)
	go func() { // goes to the one that is next
		answer, err := l.get(port, "/slow")
		slow <- fmt.Sprint(answer, err)
	}()
	l.await("a request is there", func() bool { return strings.Contains(l.ask("show sess"), "f_") })
	l.conf.Ports[0].Members = nil
	l.p = New(l.conf.Run)
	l.settle()
	if got := first(l.count(port, 1)); !strings.HasPrefix(got, "503 ") {
		t.Errorf("a new request got %q, want 503", got)
	}
	close(gate)
	if got := <-slow; !strings.HasPrefix(got, "200 ") {
		t.Errorf("the request that was there got %q", got)
	}
	l.now = l.now.Add(2 * time.Minute)
	l.settle()
	servers, err := parseServers(l.ask("show servers state"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		if !s.free() {
			t.Errorf("place %s is not free after the drain: %+v", s.Name, s)
		}
	}
	if now := l.pid(); now != pid {
		t.Errorf("the worker was replaced: %s, was %s", now, pid)
	}
}

func TestRequestsOfAMemberThatLeftAreCutAfterTheDrain(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	port := l.conf.Ports[0].Port
	var hold atomic.Pointer[chan struct{}]
	gate := make(chan struct{})
	defer close(gate)
	hold.Store(&gate)
	l.conf.Ports[0].Members = []netip.AddrPort{l.member("one", &hold)}
	l.settle()
	slow := make(chan string, 1)
	go func() {
		answer, err := l.get(port, "/slow")
		slow <- fmt.Sprint(answer, err)
	}()
	l.await("a request is there", func() bool { return strings.Contains(l.ask("show sess"), "f_") })
	l.conf.Ports[0].Members = nil
	l.settle()
	select {
	case got := <-slow:
		t.Fatalf("cut at once: %q", got)
	default:
	}
	l.now = l.now.Add(time.Minute)
	l.settle()
	select {
	case got := <-slow:
		if strings.HasPrefix(got, "200 ") {
			t.Errorf("got %q", got)
		}
	case <-time.After(15 * time.Second):
		t.Error("the request was not cut")
	}
}

func TestAnotherPortAndMoreMembersThanPlacesNeedAReload(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	more := l.conf.Ports[1]
	l.conf.Ports = l.conf.Ports[:1]
	l.settle()
	var hold atomic.Pointer[chan struct{}]
	m := l.member("one", &hold)
	for i := range minSlots + 1 { // all the same server, by other addresses of loopback
		l.conf.Ports[0].Members = append(l.conf.Ports[0].Members, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), m.Port()))
	}
	l.conf.Ports = append(l.conf.Ports, Port{Port: more.Port, Members: []netip.AddrPort{m}})
	l.settle()
	if got := l.count(more.Port, 2); !strings.HasPrefix(first(got), "200 one") {
		t.Errorf("the new port says %v", got)
	}
}

func first(m map[string]int) string {
	for k := range m {
		return k
	}
	return ""
}

func (l *lab) ask(command string) string {
	l.t.Helper()
	out, err := l.p.Ask(l.t.Context(), Admin, command)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func (l *lab) pid() string {
	for line := range strings.Lines(l.ask("show info")) {
		if strings.HasPrefix(line, "Pid:") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func (l *lab) await(what string, ok func() bool) {
	l.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); pause(l.t, 5*time.Millisecond) {
		if ok() {
			return
		}
	}
	l.t.Fatalf("not in time: %s", what)
}

func TestTheSocketIsAskedWithALimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := New(dir).Ask(ctx, "s", "show info"); err == nil {
		t.Error("a proxy that does not answer is waited for")
	}
	if _, err := parseServers("1\n# be_id be_name\n1 2 3\n"); err == nil {
		t.Error("a line that is too long was read")
	}
}
