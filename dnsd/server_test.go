package dnsd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// startServer serves h on a loopback port until the test ends.
func startServer(tb testing.TB, h *Handler, f *Forwarder) netip.AddrPort {
	tb.Helper()
	return startServerAt(tb, loopback, h, f)
}

func startServerAt(tb testing.TB, at netip.AddrPort, h *Handler, f *Forwarder) netip.AddrPort {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Listen(ctx, []netip.AddrPort{at}, h, f, slog.New(slog.DiscardHandler))
	for try := 0; try < 100 && errors.Is(err, syscall.EADDRINUSE); try++ { // a port that is free for TCP may not be for UDP
		s, err = Listen(ctx, []netip.AddrPort{at}, h, f, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		cancel()
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Error(err)
			}
		case <-time.After(10 * time.Second):
			tb.Error("the server does not stop")
		}
	})
	return s.Addrs()[0]
}

func localHandler(tb testing.TB) *Handler {
	tb.Helper()
	h := NewHandler(func(a netip.Addr) bool { return a.IsLoopback() }, nil)
	h.SetZone(NewZone(testTable()))
	return h
}

func TestDigSeesTheZoneOverUDPAndTCP(t *testing.T) {
	t.Parallel()
	dig := testenv.RequireTool(t, "dig")
	server := startServer(t, localHandler(t), nil)
	for _, c := range []struct {
		args string
		want []string
		not  string
	}{
		{"db.prod.rex.internal A +short", []string{"10.66.0.20"}, ""},
		{"db.prod.rex.internal AAAA +short", []string{"fd00:66::20"}, ""},
		{"-x 10.66.0.20 +short", []string{"db.prod.rex.internal."}, ""},
		{"-x fd00:66::20 +short", []string{"db.prod.rex.internal."}, ""},
		{"_web._tcp.prod.rex.internal SRV", []string{"status: NOERROR", "flags: qr aa rd ra", "0 1 8080 web-2.prod.rex.internal.", "ANSWER: 3", "ADDITIONAL: 4", "10.66.0.12"}, ""},
		{"nope.prod.rex.internal A", []string{"status: NXDOMAIN", "AUTHORITY: 1", "SOA", "4242"}, ""},
		{"db.prod.rex.internal MX", []string{"status: NOERROR", "ANSWER: 0", "AUTHORITY: 1"}, ""},
		{"prod.rex.internal A", []string{"status: NOERROR", "ANSWER: 0", "AUTHORITY: 1"}, ""},
		{"rex.internal NS", []string{"ns.rex.internal.", "10.66.0.1"}, ""},
		{"rex.internal SOA +noedns", []string{"ns.rex.internal. hostmaster.rex.internal. 4242"}, "OPT"},
		{"dB.pRod.REX.internal A", []string{"dB.pRod.REX.internal.", "udp: 1232"}, ""},
		{"rex.internal AXFR", []string{"Transfer failed"}, ""},
		{"version.bind CH TXT", []string{"status: REFUSED"}, ""},
		{"db.prod.rex.internal ANY", []string{"HINFO", "RFC8482"}, ""},
		{"db.prod.rex.internal A +opcode=UPDATE", []string{"status: REFUSED"}, ""},
		{"db.prod.rex.internal A +opcode=NOTIFY", []string{"status: NOTIMP"}, ""},
		{"db.prod.rex.internal A +edns=1 +noednsnegotiation", []string{"status: BADVERS"}, ""},
		{"many.prod.rex.internal A +ignore", []string{"flags: qr aa tc"}, "ANSWER: 200"},
		{"many.prod.rex.internal A", []string{"Truncated, retrying in TCP mode", "ANSWER: 200"}, ""},
		{"example.com A", []string{"status: SERVFAIL"}, ""}, // no resolvers were given
	} {
		for _, transport := range []string{"+notcp", "+tcp"} {
			if transport == "+tcp" && strings.Contains(c.args, "many") || transport == "+notcp" && strings.Contains(c.args, "AXFR") {
				continue
			}
			args := append([]string{"@127.0.0.1", "-p", strconv.Itoa(int(server.Port())), "+tries=1", "+time=5", transport}, strings.Fields(c.args)...)
			out, err := exec.Command(dig, args...).CombinedOutput()
			if err != nil {
				t.Errorf("dig %v: %v\n%s", args, err, out)
				continue
			}
			for _, want := range c.want {
				if !bytes.Contains(out, []byte(want)) {
					t.Errorf("dig %v lacks %q:\n%s", args, want, out)
				}
			}
			if c.not != "" && bytes.Contains(out, []byte(c.not)) {
				t.Errorf("dig %v has %q:\n%s", args, c.not, out)
			}
		}
	}
}

func TestTCPConnectionTakesManyQueries(t *testing.T) {
	t.Parallel()
	server := startServer(t, localHandler(t), nil)
	conn, err := net.Dial("tcp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var all []byte
	for id := range uint16(50) { // all at once: pipelining, RFC 7766 section 6.2.1.1
		q := query("db.prod.rex.internal.", dns.TypeA)
		q.Id = id
		packed, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(packed))), packed...)
	}
	if _, err := conn.Write(all); err != nil {
		t.Fatal(err)
	}
	stream := &dns.Conn{Conn: conn}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for id := range uint16(50) {
		reply, err := stream.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if reply.Id != id || len(reply.Answer) != 1 {
			t.Fatalf("reply %d: %v", id, reply)
		}
	}
}

// upstream is a resolver of the test's own.
type upstream struct {
	addr  netip.AddrPort
	asked atomic.Int32
}

// listenBoth is a port for UDP and TCP. What is free for one may be taken for
// the other.
func listenBoth(tb testing.TB) (net.PacketConn, net.Listener) {
	tb.Helper()
	for try := 0; ; try++ {
		packet, err := net.ListenPacket("udp", loopback.String())
		if err != nil {
			tb.Fatal(err)
		}
		stream, err := net.Listen("tcp", packet.LocalAddr().String())
		if err == nil {
			return packet, stream
		}
		if err = errors.Join(err, packet.Close()); try == 100 || !errors.Is(err, syscall.EADDRINUSE) {
			tb.Fatal(err)
		}
	}
}

func startUpstream(tb testing.TB, answer func(w dns.ResponseWriter, q *dns.Msg)) *upstream {
	tb.Helper()
	u := &upstream{}
	packet, stream := listenBoth(tb)
	u.addr = packet.LocalAddr().(*net.UDPAddr).AddrPort()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		u.asked.Add(1)
		answer(w, q)
	})
	for _, server := range []*dns.Server{{PacketConn: packet, Handler: handler}, {Listener: stream, Handler: handler}} {
		up := make(chan struct{})
		server.NotifyStartedFunc = func() { close(up) }
		done := make(chan error, 1)
		go func() { done <- server.ActivateAndServe() }()
		<-up
		tb.Cleanup(func() {
			if err := errors.Join(server.Shutdown(), <-done); err != nil {
				tb.Error(err)
			}
		})
	}
	return u
}

func exchange(tb testing.TB, server netip.AddrPort, network string, q *dns.Msg) *dns.Msg {
	tb.Helper()
	client := dns.Client{Net: network, Timeout: 15 * time.Second}
	reply, _, err := client.Exchange(q, server.String())
	if err != nil {
		tb.Fatal(err)
	}
	return reply
}

func answerWith(rrs ...string) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		for _, rr := range rrs {
			reply.Answer = append(reply.Answer, mustRR(rr))
		}
		if opt := q.IsEdns0(); opt != nil {
			reply.SetEdns0(1232, opt.Do())
		}
		_ = w.WriteMsg(reply) // the asker may be gone
	}
}

func TestForeignNamesAreForwardedAndCached(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, answerWith("example.com. 60 IN A 192.0.2.7"))
	server := startServer(t, localHandler(t), NewForwarder([]netip.AddrPort{up.addr}, nil))
	for _, name := range []string{"example.com.", "eXample.COM."} {
		for _, network := range []string{"udp", "tcp"} {
			reply := exchange(t, server, network, query(name, dns.TypeA))
			if len(reply.Answer) != 1 || !reply.RecursionAvailable || reply.Authoritative || reply.Question[0].Name != name {
				t.Errorf("%s over %s: %v", name, network, reply)
			}
		}
	}
	if n := up.asked.Load(); n != 1 {
		t.Errorf("the resolver was asked %d times, want once", n)
	}
	if reply := exchange(t, server, "udp", query("example.com.", dns.TypeA).SetEdns0(4096, true)); reply.IsEdns0() == nil {
		t.Errorf("with EDNS asked, answered without: %v", reply)
	}
	if n := up.asked.Load(); n != 2 {
		t.Errorf("with and without signatures is one answer")
	}
}

func TestNextResolverIsAskedWhenOneFails(t *testing.T) {
	t.Parallel()
	broken := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)) // the asker may be gone
	})
	good := startUpstream(t, answerWith("example.com. 60 IN A 192.0.2.7"))
	f := NewForwarder([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), broken.addr, good.addr}, nil)
	server := startServer(t, localHandler(t), f)
	if reply := exchange(t, server, "udp", query("example.com.", dns.TypeA)); len(reply.Answer) != 1 {
		t.Errorf("reply %v", reply)
	}
	if broken.asked.Load() != 1 || good.asked.Load() != 1 {
		t.Errorf("asked %d and %d times, want once each", broken.asked.Load(), good.asked.Load())
	}
}

func TestLongForeignAnswersComeByTCP(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			reply.Truncated = true
		} else {
			for i := range 100 {
				reply.Answer = append(reply.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, byte(i))})
			}
		}
		_ = w.WriteMsg(reply) // the asker may be gone
	})
	server := startServer(t, localHandler(t), NewForwarder([]netip.AddrPort{up.addr}, nil))
	if reply := exchange(t, server, "tcp", query("example.com.", dns.TypeA)); len(reply.Answer) != 100 || reply.Truncated {
		t.Errorf("over TCP: %d answers, truncated %v", len(reply.Answer), reply.Truncated)
	}
	if reply := exchange(t, server, "udp", query("example.com.", dns.TypeA)); len(reply.Answer) != 0 || !reply.Truncated {
		t.Errorf("over UDP: %d answers, truncated %v", len(reply.Answer), reply.Truncated)
	}
}

func TestForgedRepliesAreNotTaken(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		for _, change := range []func(*dns.Msg){
			func(m *dns.Msg) { m.Id++ },
			func(m *dns.Msg) { m.Question[0].Name = "other.example." },
			func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
			func(m *dns.Msg) { m.Response = false },
		} {
			forged := new(dns.Msg).SetReply(q)
			forged.Answer = []dns.RR{mustRR("example.com. 60 IN A 203.0.113.66")}
			change(forged)
			_ = w.WriteMsg(forged) // the asker may be gone
		}
		answerWith("example.com. 60 IN A 192.0.2.7")(w, q)
	})
	server := startServer(t, localHandler(t), NewForwarder([]netip.AddrPort{up.addr}, nil))
	reply := exchange(t, server, "udp", query("example.com.", dns.TypeA))
	if len(reply.Answer) != 1 || reply.Answer[0].(*dns.A).A.String() != "192.0.2.7" {
		t.Errorf("reply %v", reply)
	}
}

func TestTooManyForwardsAreRefusedNotQueued(t *testing.T) {
	t.Parallel()
	f := NewForwarder(nil, nil)
	for range maxForwards {
		if !f.take(netip.IPv6Loopback()) {
			t.Fatal("slots ran out early")
		}
	}
	packed, err := query("example.com.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var reply dns.Msg
	if err := reply.Unpack(f.Forward(context.Background(), packed, true)); err != nil || reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("reply %v (%v), want SERVFAIL", reply, err)
	}
}

func TestQueryShowsWhatClientsSee(t *testing.T) {
	t.Parallel()
	h := localHandler(t)
	up := startUpstream(t, answerWith("example.com. 60 IN A 192.0.2.7"))
	f := NewForwarder([]netip.AddrPort{up.addr}, nil)
	reply, err := h.Query(context.Background(), f, "db.prod.rex.internal", "aaaa")
	want := ReplyRecord{"db.prod.rex.internal.", "AAAA", 30, "fd00:66::20"}
	if err != nil || reply.Rcode != "NOERROR" || !reply.Authoritative || len(reply.Answers) != 1 || reply.Answers[0] != want {
		t.Errorf("%+v (%v)", reply, err)
	}
	if reply, err := h.Query(context.Background(), f, "nope.rex.internal.", "A"); err != nil || reply.Rcode != "NXDOMAIN" {
		t.Errorf("%+v (%v)", reply, err)
	}
	if reply, err := h.Query(context.Background(), f, "example.com", "A"); err != nil || len(reply.Answers) != 1 || reply.Authoritative {
		t.Errorf("%+v (%v)", reply, err)
	}
	if reply, err := h.Query(context.Background(), nil, "example.com", "A"); err != nil || reply.Rcode != "SERVFAIL" {
		t.Errorf("%+v (%v)", reply, err)
	}
	for _, bad := range [][2]string{{"x.rex.internal", "NOTYPE"}, {"a..b", "A"}, {strings.Repeat("a", 300), "A"}} {
		if reply, err := h.Query(context.Background(), f, bad[0], bad[1]); err == nil {
			t.Errorf("%v: %+v, want an error", bad, reply)
		}
	}
}

func TestResolversComeFromTheFirstFileThatHelps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stub := write("stub", "nameserver 127.0.0.53\noptions edns0\n")
	upstream := write("real", "# comment\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch x\n")
	missing := filepath.Join(dir, "missing")
	for _, c := range []struct {
		paths    []string
		loopback bool
		want     string
	}{
		{[]string{stub, upstream}, true, "[127.0.0.53:53]"},
		{[]string{stub, upstream}, false, "[192.0.2.1:53 [2001:db8::1]:53]"},
		{[]string{missing, upstream}, true, "[192.0.2.1:53 [2001:db8::1]:53]"},
		{[]string{stub}, false, "[]"},
		{[]string{missing}, true, "[]"},
	} {
		got, err := Resolvers(c.paths, c.loopback)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%v: %v (%v), want %s", c, got, err, c.want)
		}
	}
}
