package dnsd

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestBurstOfOneClientIsAnsweredPacketByPacket: replies may leave the kernel
// together, but each arrives by itself, whole, whatever its length.
func TestBurstOfOneClientIsAnsweredPacketByPacket(t *testing.T) {
	t.Parallel()
	addresses := []string{"127.0.0.1:0"}
	if probe, err := net.ListenPacket("udp", "[::1]:0"); err == nil { // there is IPv6
		addresses = append(addresses, "[::1]:0")
		probe.Close()
	}
	for _, address := range addresses {
		h := localHandler(t)
		server := startServerAt(t, netip.MustParseAddrPort(address), h, nil)
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		names := []string{"db.prod.rex.internal.", "web-1.prod.rex.internal.", "web-2.prod.rex.internal.", "web.prod.rex.internal.", "many.prod.rex.internal.", "nope.rex.internal."}
		const burst = 300
		missing := map[uint16]string{}
		for id := range uint16(burst) {
			missing[id] = names[int(id)%len(names)]
		}
		buf := make([]byte, 4096)
		deadline := time.Now().Add(60 * time.Second)
		for len(missing) > 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d of %d queries have no reply", address, len(missing), burst)
			}
			for id, name := range missing { // all at once; a second time those that were lost
				q := query(name, dns.TypeA)
				q.Id = id
				packed, err := q.SetEdns0(1232, false).Pack()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Write(packed); err != nil {
					t.Fatal(err)
				}
			}
			for len(missing) > 0 {
				if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
					t.Fatal(err)
				}
				n, err := conn.Read(buf)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				reply := unpack(t, buf[:n])
				if name, ok := missing[reply.Id]; ok && reply.Question[0].Name != name {
					t.Fatalf("reply to %d is about %s, want %s", reply.Id, reply.Question[0].Name, name)
				}
				if reply.Rcode == 0 && len(reply.Answer) == 0 {
					t.Fatalf("reply %v", reply)
				}
				delete(missing, reply.Id)
			}
		}
	}
}
