package dhcpd

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// TestFloodsLeaveEverybodyElseServed: starvation, declines, nonsense.
func TestFloodsLeaveEverybodyElseServed(t *testing.T) {
	t.Parallel()
	log := newMemoryLog(newLab(t, `network "lab" { subnet = "10.0.0.0/24" }`))
	s, w := newTestServer(t, log), &wire{}
	committing(t, s)
	known := newPacket(dhcpv4.MessageTypeRequest, 7)
	known.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 0, 0, 200)))
	s.handle(w, known.ToBytes(), 0)
	await(t, "the first guest has its address", func() bool { return w.count(dhcpv4.MessageTypeAck) == 1 })

	goroutines := runtime.NumGoroutine()
	flood(s, 5000)
	await(t, "the flood is worked off", func() bool { return len(s.queue.waiting) == 0 })
	if n := runtime.NumGoroutine(); n > goroutines+50 { // other tests run beside it
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if n := log.State().Guests.Len(); n > 127 {
		t.Errorf("%d leases in a range of 127", n)
	}
	if n := count(t, s, "dropped", "panic"); n != 0 {
		t.Errorf("%v panics", n)
	}
	probation := 0
	for _, g := range log.State().Guests.All {
		if g.Client == "" {
			probation++
		}
	}
	if probation > 60 {
		t.Errorf("%d addresses are in probation", probation)
	}

	again := &wire{}
	s.handle(again, known.ToBytes(), 0)
	await(t, "the first guest is served as before", func() bool { return again.count(dhcpv4.MessageTypeAck) == 1 })
}

// flood sends what n strangers would, each several things, and one stranger a lot.
func flood(s *Server, n int) {
	w := &wire{}
	for i := 1; i <= n; i++ {
		d := newPacket(dhcpv4.MessageTypeDiscover, 1)
		d.ClientHWAddr = macOf(i)
		s.handle(w, d.ToBytes(), 0)
		r := newPacket(dhcpv4.MessageTypeRequest, 1)
		r.ClientHWAddr = macOf(i)
		addr := net.IPv4(10, 0, 0, 128+byte(i%127))
		r.UpdateOption(dhcpv4.OptRequestedIPAddress(addr))
		s.handle(w, r.ToBytes(), 0)
		r.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeDecline))
		s.handle(w, r.ToBytes(), 0)
		raw := r.ToBytes()
		s.handle(w, raw[:i%len(raw)], 0)
		raw[i%len(raw)] ^= byte(i)
		s.handle(w, raw, 0)
		s.handle(w, newPacket(dhcpv4.MessageTypeDiscover, 99).ToBytes(), 0)
		r.OpCode = dhcpv4.OpcodeBootReply // another server
		s.handle(w, r.ToBytes(), 0)
		w.mu.Lock()
		w.sent = w.sent[:0]
		w.mu.Unlock()
	}
}

func TestOneClientCannotTakeAllTheTime(t *testing.T) {
	t.Parallel()
	s, w := newTestServer(t, newMemoryLog(newLab(t, wideNetwork))), &wire{}
	for range 1000 {
		s.handle(w, newPacket(dhcpv4.MessageTypeDiscover, 3).ToBytes(), 0)
	}
	if n := w.count(dhcpv4.MessageTypeOffer); n < clientBurst || n > 200 {
		t.Errorf("%d of 1000 packets were answered, want some %d", n, clientBurst)
	}
}

// brokenLog makes whoever reads it panic, as a bug in a rare case would.
type brokenLog struct {
	*memoryLog
	broken atomic.Bool
}

func (b *brokenLog) State() *fsm.State {
	if b.broken.Load() {
		panic("a bug")
	}
	return b.memoryLog.State()
}

func TestABugEndsOnePacketOnly(t *testing.T) {
	t.Parallel()
	log := &brokenLog{memoryLog: newMemoryLog(newLab(t, wideNetwork))}
	s, w := newTestServer(t, log), &wire{}
	log.broken.Store(true)
	s.handle(w, requestOf(1), 0)
	log.broken.Store(false)
	s.handle(w, newPacket(dhcpv4.MessageTypeDiscover, 1).ToBytes(), 0)
	if n := count(t, s, "dropped", "panic"); n != 1 || w.count(dhcpv4.MessageTypeOffer) != 1 {
		t.Errorf("%v packets were dropped, %d offers made", n, w.count(dhcpv4.MessageTypeOffer))
	}
}

// TestWhatWaitedTooLongIsNotAnswered: the answer would come after the client
// has asked again, and each later one with it. A few of them are no flood.
func TestWhatWaitedTooLongIsNotAnswered(t *testing.T) {
	t.Parallel()
	s, w := newTestServer(t, newMemoryLog(newLab(t, wideNetwork))), &wire{}
	now := time.Now()
	s.c.Clock = func() time.Time { return now }
	committing(t, s)
	late := func(i int) { s.handle(w, discoverOf(i), staleDiscover+1) }
	for i := 1; i <= lateBurst; i++ {
		late(i)
	}
	if n := w.count(dhcpv4.MessageTypeOffer); n != lateBurst {
		t.Fatalf("%d of the first %d late ones were answered", n, lateBurst)
	}
	for i := 1; i <= 100; i++ {
		late(1000 + i)
	}
	s.handle(w, requestOf(2), staleRequest+1)
	if n := count(t, s, "dropped", "too late"); n != 101 {
		t.Errorf("%v were dropped as too late, want 101", n)
	}
	s.handle(w, requestOf(3), staleDiscover+1)
	await(t, "who has been offered an address gets it", func() bool { return w.count(dhcpv4.MessageTypeAck) == 1 })
}

func discoverOf(i int) []byte {
	p := newPacket(dhcpv4.MessageTypeDiscover, 1)
	p.ClientHWAddr = macOf(i)
	return p.ToBytes()
}
