package dnsd

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestSecondariesAreNotifiedOfChangesUntilTheyAnswer(t *testing.T) {
	t.Parallel()
	h, key := transferHandler(t)
	packet, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 100)
	first := true
	secondary := &dns.Server{PacketConn: packet, TsigSecret: map[string]string{key.Name: key.Secret}, MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }}
	secondary.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if first {
			first = false
			return // lost
		}
		if q.IsTsig() == nil || w.TsigStatus() != nil || q.Opcode != dns.OpcodeNotify {
			t.Errorf("told %v, signature %v", q, w.TsigStatus())
		}
		told <- q.Question[0].Name
		reply := new(dns.Msg).SetReply(q)
		reply.SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
		_ = w.WriteMsg(reply) // the asker may be gone
	})
	up := make(chan struct{})
	secondary.NotifyStartedFunc = func() { close(up) }
	served := make(chan error, 1)
	go func() { served <- secondary.ActivateAndServe() }()
	<-up
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- h.Notify(ctx, []Target{{Addr: packet.LocalAddr().(*net.UDPAddr).AddrPort(), Key: key.Name}}, quiet)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := secondary.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	wait := func(what string, zones ...string) {
		t.Helper()
		deadline := time.After(60 * time.Second)
		for len(zones) > 0 {
			select {
			case zone := <-told:
				zones = slices.DeleteFunc(zones, func(z string) bool { return z == zone })
			case <-deadline:
				t.Fatalf("%s: never told of %v", what, zones)
			}
		}
	}
	wait("at first", "rex.internal.", "0.66.10.in-addr.arpa.", "0.0.0.0.0.0.0.0.6.6.0.0.0.0.d.f.ip6.arpa.")
	h.SetZone(h.Zone().WithSerial(5000)) // of no interest
	h.SetZone(h.Zone().With(5001, []Set{{Name: "new.rex.internal", Type: "A", Records: []Record{{Name: "new.rex.internal", Type: "A", Addr: addr("10.66.0.99")}}}}))
	wait("after a change", "rex.internal.")
	if len(told) > 0 {
		t.Errorf("told of %s, where nothing changed", <-told)
	}
}
