package overlay

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/netd/mesh"
)

func newLab(t *testing.T, n int) *Lab {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "nft")
	_, err := os.Stat("/dev/net/tun")
	testenv.Require(t, err == nil, "there is no /dev/net/tun (modprobe tun)")
	l, err := New(t.Context(), t.TempDir(), n)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *Lab) place(t *testing.T, at int, id, addr string) string {
	t.Helper()
	ns, err := l.Place(t.Context(), at, id, addr)
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// echo sends each datagram back to where it came from, until stop.
func echo(t *testing.T, ns, addr string) (stop func()) {
	t.Helper()
	var c net.PacketConn
	in(t, ns, func() (err error) {
		c, err = net.ListenPacket("udp", addr+":7")
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 9000)
		for {
			n, from, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteTo(buf[:n], from)
			}
		}
	}()
	return func() { _ = c.Close(); <-done }
}

func in(t *testing.T, ns string, fn func() error) {
	t.Helper()
	if err := In(ns, fn); err != nil {
		t.Fatal(err)
	}
}

// stream asks for an echo each 2 ms and remembers when the last answer came, and the longest silence.
type stream struct {
	conn     *net.UDPConn
	last     atomic.Int64 // unix ns
	longest  atomic.Int64 // ns
	answered atomic.Int64
	stop     context.CancelFunc
	done     chan struct{}
}

func newStream(t *testing.T, ns, addr string) *stream {
	t.Helper()
	s := &stream{done: make(chan struct{}, 2)}
	in(t, ns, func() error {
		c, err := net.Dial("udp", addr+":7")
		if err == nil {
			s.conn = c.(*net.UDPConn) //nolint:forcetypeassert // of udp
		}
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = func() { cancel(); _ = s.conn.Close(); <-s.done; <-s.done }
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer func() { tick.Stop(); s.done <- struct{}{} }()
		for ctx.Err() == nil {
			_, _ = s.conn.Write([]byte("are you there"))
			<-tick.C
		}
	}()
	go func() {
		defer func() { s.done <- struct{}{} }()
		buf := make([]byte, 100)
		for ctx.Err() == nil {
			_ = s.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := s.conn.Read(buf); err != nil {
				continue
			}
			now := time.Now().UnixNano()
			if before := s.last.Swap(now); before != 0 && now-before > s.longest.Load() {
				s.longest.Store(now - before)
			}
			s.answered.Add(1)
		}
	}()
	return s
}

// await waits for n more answers.
func (s *stream) await(t *testing.T, n int64) {
	t.Helper()
	end := time.Now().Add(40 * time.Second)
	for want := s.answered.Load() + n; s.answered.Load() < want; {
		if time.Now().After(end) {
			t.Fatal("no answers")
		}
		time.Sleep(time.Millisecond)
	}
}

// frags counts the packets that a namespace has cut into pieces.
func frags(t *testing.T, ns string) (n int) {
	t.Helper()
	in(t, ns, func() error {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		var names []string
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if f[0] != "Ip:" {
				continue
			}
			if names == nil {
				names = f
				continue
			}
			for i, name := range names {
				if name == "FragCreates" {
					n, _ = strconv.Atoi(f[i])
				}
			}
		}
		return err
	})
	return n
}

func TestLargeTransfersPassUncut(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	a, b := l.place(t, 0, "11111111", "10.66.0.3"), l.place(t, 1, "22222222", "10.66.0.4")
	data := make([]byte, 10<<20)
	_, _ = rand.Read(data)
	var ln net.Listener
	in(t, b, func() (err error) {
		ln, err = net.Listen("tcp", "10.66.0.4:80")
		return err
	})
	defer ln.Close()
	sum := make(chan [32]byte, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		h := sha256.New()
		_, _ = io.Copy(h, c)
		sum <- [32]byte(h.Sum(nil))
	}()
	in(t, a, func() error { // TCP sets DF on each packet
		c, err := net.DialTimeout("tcp", "10.66.0.4:80", 30*time.Second)
		if err != nil {
			return err
		}
		_, err = io.Copy(c, bytes.NewReader(data))
		return errors.Join(err, c.Close())
	})
	select {
	case got := <-sum:
		if got != sha256.Sum256(data) {
			t.Error("what came is not what was sent")
		}
	case <-time.After(60 * time.Second):
		t.Fatal("10 MiB do not arrive")
	}
	fullDatagram(t, a, b)
	for _, ns := range []string{a, b, l.Hosts[0].NS, l.Hosts[1].NS} {
		if n := frags(t, ns); n != 0 {
			t.Errorf("%d packets were cut into pieces", n)
		}
	}
}

// fullDatagram sends the largest datagram that the interface takes, with DF, and one byte more.
func fullDatagram(t *testing.T, a, b string) {
	t.Helper()
	defer echo(t, b, "10.66.0.4")()
	var c net.Conn
	in(t, a, func() (err error) {
		c, err = net.Dial("udp", "10.66.0.4:7")
		return err
	})
	defer c.Close()
	raw, err := c.(syscall.Conn).SyscallConn() //nolint:forcetypeassert // of udp
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	if err != nil {
		t.Fatal(err)
	}
	full := make([]byte, mesh.DefaultMTU-28)
	if _, err := c.Write(make([]byte, len(full)+1)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("a datagram above the MTU: %v", err)
	}
	for end := time.Now().Add(30 * time.Second); ; {
		if _, err := c.Write(full); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if n, err := c.Read(make([]byte, 9000)); err == nil && n == len(full) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a full datagram does not pass")
		}
	}
}

// The figures that these tests log are small (see docs/design/overlay.md); what they insist on is only that nobody waits
// for a timeout of a protocol, because a busy machine may stand still for long.
const tooLong = 15 * time.Second

func TestMovedAddressIsReachedFromEveryHost(t *testing.T) {
	t.Parallel()
	l := newLab(t, 3)
	moving := l.place(t, 0, "aaaaaaaa", "10.66.0.9")
	var streams []*stream
	for i := range l.Hosts {
		ns := l.place(t, i, fmt.Sprintf("1111111%d", i), fmt.Sprintf("10.66.0.1%d", i))
		s := newStream(t, ns, "10.66.0.9")
		defer s.stop()
		streams = append(streams, s)
	}
	stop := echo(t, moving, "10.66.0.9")
	for _, s := range streams {
		s.await(t, 20)
	}
	for round, to := range []int{1, 2, 0, 1} {
		stop()
		ns, err := l.Move(t.Context(), "aaaaaaaa", to)
		if err != nil {
			t.Fatal(err)
		}
		stop = echo(t, ns, "10.66.0.9")
		started := time.Now()
		for i, s := range streams {
			s.await(t, 1)
			d := time.Since(started)
			t.Logf("move %d to host %d: host %d has an answer %v after the start", round, to, i, d)
			if d > tooLong {
				t.Errorf("move %d to host %d: host %d had to wait for %v", round, to, i, d)
			}
		}
	}
	stop()
}

func TestTrafficGoesOnWhileAKeyIsReplaced(t *testing.T) {
	t.Parallel()
	l := newLab(t, 2)
	a, b := l.place(t, 0, "11111111", "10.66.0.3"), l.place(t, 1, "22222222", "10.66.0.4")
	defer echo(t, b, "10.66.0.4")()
	s := newStream(t, a, "10.66.0.4")
	defer s.stop()
	s.await(t, 50)
	s.longest.Store(0)
	for _, i := range []int{0, 1, 0} {
		h := l.Hosts[i]
		var err error
		if h.Next, err = mesh.NewKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
		if err := l.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.await(t, 20)
		h.Key, h.Next = h.Next, mesh.Key{}
		if err := l.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.await(t, 50)
	}
	t.Logf("the longest silence in three changes: %v", time.Duration(s.longest.Load()))
	if d := time.Duration(s.longest.Load()); d > tooLong {
		t.Errorf("nobody answered for %v", d)
	}
}

func TestRemovedHostIsCutOff(t *testing.T) {
	t.Parallel()
	l := newLab(t, 3)
	a := l.place(t, 0, "11111111", "10.66.0.3")
	c := l.place(t, 2, "33333333", "10.66.0.5")
	b := l.place(t, 1, "22222222", "10.66.0.4")
	defer echo(t, a, "10.66.0.3")()
	out, stays := newStream(t, b, "10.66.0.3"), newStream(t, c, "10.66.0.3")
	defer out.stop()
	defer stays.stop()
	out.await(t, 5)
	stays.await(t, 5)
	l.Hosts[1].Gone = true
	if err := l.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	stays.await(t, 20) // what was under way has arrived
	n := out.answered.Load()
	stays.await(t, 50)
	if more := out.answered.Load() - n; more > 0 {
		t.Errorf("a removed host had %d more answers", more)
	}
	v, err := l.Hosts[0].Mesh.Show(t.Context())
	if err != nil || len(v.Peers) != 1 {
		t.Errorf("peers that are left: %+v (%v)", v.Peers, err)
	}
}
