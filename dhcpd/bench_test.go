package dhcpd

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// BenchmarkExchange is a DISCOVER and a REQUEST of a machine that nobody has
// seen before, with the log in memory: what an exchange costs beside the disk
// and the kernel.
func BenchmarkExchange(b *testing.B) {
	log := newMemoryLog(newLab(b, `network "lab" {
  subnet = "10.32.0.0/12"
  dhcp { range = "10.32.1.0-10.47.255.254" }
}`))
	s := NewServer(Config{Network: "lab", Host: "h1", Log: log, Clock: time.Now, Metrics: NewMetrics(nil), Logger: slog.New(slog.DiscardHandler)})
	var wg sync.WaitGroup
	for range committers {
		wg.Go(func() { s.queue.run(b.Context()) })
	}
	discover, request := newPacket(dhcpv4.MessageTypeDiscover, 1), newPacket(dhcpv4.MessageTypeRequest, 1)
	request.UpdateOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 32, 0, 1)))
	w := &ackCounter{acks: make(chan struct{}, queueSize)}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		discover.ClientHWAddr, request.ClientHWAddr = macOf(i), macOf(i)
		s.handle(w, discover.ToBytes(), 0)
		request.UpdateOption(dhcpv4.OptRequestedIPAddress(w.offered[:]))
		s.handle(w, request.ToBytes(), 0)
		if i >= queueSize/2 {
			<-w.acks
		}
	}
}

// ackCounter remembers what was offered last, and tells each ACK.
type ackCounter struct {
	offered [4]byte
	acks    chan struct{}
}

func (w *ackCounter) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	p, err := dhcpv4.FromBytes(b)
	if err != nil {
		return 0, err
	}
	switch p.MessageType() {
	case dhcpv4.MessageTypeOffer:
		copy(w.offered[:], p.YourIPAddr.To4())
	case dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak:
		w.acks <- struct{}{}
	}
	return len(b), nil
}
