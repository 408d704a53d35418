//go:build linux

package netsock

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/fsm"
)

type served struct {
	path string
	left atomic.Int64
	reg  *prometheus.Registry
	end  func() error // ends Serve
}

func serve(t *testing.T, mine func(uint32) bool) *served {
	t.Helper()
	s := scene(t, 2).S
	d := &served{path: filepath.Join(t.TempDir(), "front.seq_packet"), reg: prometheus.NewRegistry()}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: d.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	metrics := NewMetrics(d.reg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, l, Config{
			Who: who(t, s, "web0", "front"), State: func() *fsm.State { return s }, Mine: mine, Metrics: metrics,
			Leave: func(context.Context, fsm.JailName) error { d.left.Add(1); return nil },
		})
	}()
	d.end = func() error { cancel(); return <-done }
	t.Cleanup(cancel)
	return d
}

func (d *served) refused(reason string) float64 {
	all, err := d.reg.Gather()
	if err != nil {
		return -1
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == "rexcarcer_netsock_refused_total" && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func me(uid uint32) bool { return uid == uint32(os.Getuid()) }

func (d *served) dial(t *testing.T) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: d.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(t *testing.T, c *net.UnixConn, text string) (r Reply) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxReply)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatalf("after %.60q: %v", text, err)
	}
	if err := json.Unmarshal(buf[:n], &r); err != nil {
		t.Fatalf("%q: %v", buf[:n], err)
	}
	return r
}

func TestOneConnectionIsAnsweredInOrder(t *testing.T) {
	t.Parallel()
	d := serve(t, me)
	c := d.dial(t)
	for i, typ := range []string{TypeSelf, TypePeers, TypeSelf} {
		b, _ := json.Marshal(Request{V: 1, ID: uint64(i + 1), Type: typ})
		if r := ask(t, c, string(b)); r.Type != typ || r.ID != uint64(i+1) {
			t.Errorf("request %d: %+v", i+1, r)
		}
	}
	if r := ask(t, c, `{"v":1,"type":"leave"}`); r.Type != TypeLeave || d.left.Load() != 1 {
		t.Errorf("leave: %+v, %d left", r, d.left.Load())
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlives the listener")
	}
}

func TestNonsenseIsRefusedThenCutOffAndOthersAreServed(t *testing.T) {
	t.Parallel()
	d := serve(t, me)
	c := d.dial(t)
	for want, text := range map[string]string{
		"bad_request": "GET / HTTP/1.1\r\n\r\n", "too_large": strings.Repeat("x", MaxMessage+100), "version": `{"v":99,"type":"self"}`,
		"unknown_type": `{"v":1,"type":"reboot"}`, "not_found": `{"v":1,"type":"peer","name":"../../etc/passwd"}`,
	} {
		if r := ask(t, c, text); r.Type != TypeError || r.Code != want {
			t.Errorf("%.40q: %+v, want %s", text, r, want)
		}
	}
	buf := make([]byte, maxReply)
	cut := false
	for range 3 * patience {
		if _, err := c.Write([]byte("\x00\xff")); err != nil {
			cut = true
			break
		}
		if n, err := c.Read(buf); err != nil || n == 0 {
			cut = true
			break
		}
	}
	if !cut {
		t.Error("nonsense goes on for ever")
	}
	if got := d.refused("bad_request"); got < 1 {
		t.Errorf("%v refusals counted", got)
	}
	if r := ask(t, d.dial(t), `{"v":1,"type":"self"}`); r.Type != TypeSelf {
		t.Errorf("the next one hears %+v", r)
	}
}

func TestAStrangerIsNotAnswered(t *testing.T) {
	t.Parallel()
	d := serve(t, func(uint32) bool { return false })
	c := d.dial(t)
	_, _ = c.Write([]byte(`{"v":1,"type":"leave"}`)) // it may be closed already
	if n, err := c.Read(make([]byte, 100)); err == nil && n > 0 {
		t.Errorf("%d bytes", n)
	}
	if err := d.end(); err != nil || d.left.Load() != 0 {
		t.Errorf("%d left, %v", d.left.Load(), err)
	}
}

// A descriptor that comes with a message is nobody's: the kernel closes it.
func TestDescriptorsThatAreSentAreNotKept(t *testing.T) {
	t.Parallel()
	d := serve(t, me)
	c := d.dial(t)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	if _, _, err := c.WriteMsgUnix([]byte(`{"v":1,"type":"self"}`), unix.UnixRights(pipe[1]), nil); err != nil {
		t.Fatal(err)
	}
	unix.Close(pipe[1])
	if _, err := c.Read(make([]byte, maxReply)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for { // end of file: no writer is left
		n, err := unix.Read(pipe[0], make([]byte, 1))
		if n == 0 && err == nil {
			return
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			t.Fatalf("the descriptor is still open: %d, %v", n, err)
		}
		runtime.Gosched()
	}
}

func TestAFloodCostsAFixedNumberOfGoroutines(t *testing.T) {
	d := serve(t, me)
	before := runtime.NumGoroutine()
	var conns []*net.UnixConn
	for range 40 {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: d.path, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	most := 0
	for range 20 {
		for _, c := range conns {
			_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond)) // those that were refused are closed, others are full
			_, _ = c.Write([]byte(`{"v":1,"type":"peers"}`))
		}
		most = max(most, runtime.NumGoroutine()-before)
	}
	if most > 2*maxConns {
		t.Errorf("%d goroutines for 40 connections, %d connections are allowed", most, maxConns)
	}
	deadline := time.Now().Add(30 * time.Second)
	for d.refused("connections") < 40-maxConns && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if got := d.refused("connections"); got != 40-maxConns {
		t.Errorf("%v connections refused, want %d", got, 40-maxConns)
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
}
