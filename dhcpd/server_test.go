package dhcpd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// memoryLog is a log of one host, without a disk.
type memoryLog struct {
	mu      sync.Mutex
	lab     *lab
	state   atomic.Pointer[fsm.State]
	entries atomic.Int64
	down    atomic.Bool
	slow    chan struct{} // nil: entries are written at once; else one for each value
}

func newMemoryLog(l *lab) *memoryLog {
	m := &memoryLog{lab: l}
	m.state.Store(l.state)
	return m
}

func (m *memoryLog) State() *fsm.State { return m.state.Load() }

func (m *memoryLog) Propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error) {
	if m.slow != nil {
		select {
		case <-m.slow:
		case <-ctx.Done():
			return fsm.Applied{}, ctx.Err()
		}
	}
	if m.down.Load() || by != "host/h1" {
		return fsm.Applied{}, errors.New("no leader")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lab.now = max(m.lab.now, fsm.TimeOf(time.Now()))
	err := m.lab.apply(cmd)
	m.state.Store(m.lab.state)
	m.entries.Add(1)
	return fsm.Applied{Index: m.lab.state.Index}, err
}

// wire collects what a server sends.
type wire struct {
	mu   sync.Mutex
	sent []*dhcpv4.DHCPv4
}

func (w *wire) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	p, err := dhcpv4.FromBytes(b)
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, p)
	return len(b), nil
}

func (w *wire) count(typ dhcpv4.MessageType) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, p := range w.sent {
		if p.MessageType() == typ {
			n++
		}
	}
	return n
}

func newTestServer(t *testing.T, log Log) *Server {
	t.Helper()
	return NewServer(Config{
		Network: "lab", Host: "h1", Log: log, Clock: time.Now,
		Metrics: NewMetrics(nil), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
}

// count reads the counter of that name with that label.
func count(t *testing.T, s *Server, name, label string) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	m := s.c.Metrics
	reg.MustRegister(m.packets, m.replies, m.dropped)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			if f.GetName() == "rexcarcer_dhcpd_"+name+"_total" && x.GetLabel()[0].GetValue() == label {
				return x.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// committing runs the server's committers until the test ends.
func committing(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range committers {
		wg.Go(func() { s.queue.run(ctx) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 30s: %s", what)
		}
	}
}

const wideNetwork = `network "lab" { subnet = "10.0.0.0/16" }`

func macOf(i int) net.HardwareAddr {
	return net.HardwareAddr{0x52, 0x54, 1, byte(i >> 16), byte(i >> 8), byte(i)}
}

func requestOf(i int) []byte {
	p := newPacket(dhcpv4.MessageTypeRequest, 1)
	p.ClientHWAddr = macOf(i)
	p.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 0, 128+byte(i>>8), byte(i))))
	p.UpdateOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 0, 1)))
	return p.ToBytes()
}

func TestManyLeasesShareOneEntry(t *testing.T) {
	t.Parallel()
	log := newMemoryLog(newLab(t, wideNetwork))
	log.slow = make(chan struct{})
	s, w := newTestServer(t, log), &wire{}
	committing(t, s)
	const clients = 300
	before := log.entries.Load()
	for i := 1; i <= clients; i++ {
		s.handle(w, requestOf(i), 0)
	}
	if got := w.count(dhcpv4.MessageTypeAck); got != 0 {
		t.Fatalf("%d were acknowledged before anything was committed", got)
	}
	close(log.slow)
	await(t, "all are acknowledged", func() bool { return w.count(dhcpv4.MessageTypeAck) == clients })
	if n := log.entries.Load() - before; n > 8 {
		t.Errorf("%d leases took %d entries", clients, n)
	}
}

func TestNothingIsAcknowledgedThatIsNotCommitted(t *testing.T) {
	t.Parallel()
	log := newMemoryLog(newLab(t, wideNetwork))
	log.down.Store(true)
	s, w := newTestServer(t, log), &wire{}
	committing(t, s)
	s.handle(w, requestOf(1), 0)
	await(t, "the entry failed", func() bool { return count(t, s, "dropped", "not committed") == 1 })
	log.down.Store(false)
	s.handle(w, requestOf(1), 0)
	await(t, "the next one is acknowledged", func() bool { return w.count(dhcpv4.MessageTypeAck) == 1 })
	if n := w.count(dhcpv4.MessageTypeNak); n != 0 {
		t.Errorf("%d refusals", n)
	}
}

// TestAnotherHostGivesTheSameAddress: each host answers from the log, whoever
// gave the lease, and the guest is then known to be there.
func TestAnotherHostGivesTheSameAddress(t *testing.T) {
	t.Parallel()
	l := newLab(t, wideNetwork)
	log := newMemoryLog(l)
	offered := map[int]net.IP{}
	for i := 1; i <= 20; i++ {
		s, w := newTestServer(t, log), &wire{} // as after a restart: it remembers nothing
		committing(t, s)
		p := newPacket(dhcpv4.MessageTypeDiscover, byte(i))
		s.handle(w, p.ToBytes(), 0)
		offered[i] = w.sent[0].YourIPAddr
		p.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeRequest))
		p.UpdateOption(dhcpv4.OptRequestedIPAddress(offered[i]))
		s.handle(w, p.ToBytes(), 0)
		await(t, "it is acknowledged", func() bool { return w.count(dhcpv4.MessageTypeAck) == 1 })
	}
	other := newTestServer(t, log)
	for i, had := range offered {
		w := &wire{}
		other.handle(w, newPacket(dhcpv4.MessageTypeDiscover, byte(i)).ToBytes(), 0)
		if got := w.sent[0].YourIPAddr; !got.Equal(had) {
			t.Errorf("guest %d had %s, and is offered %s elsewhere", i, had, got)
		}
	}
}
