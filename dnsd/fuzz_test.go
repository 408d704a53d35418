package dnsd

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// seeds are messages of all kinds that are asked.
func seeds(f *testing.F) (packed [][]byte) {
	f.Helper()
	key, err := ParseKey("peer.key:" + testSecret)
	if err != nil {
		f.Fatal(err)
	}
	cookie := query("db.prod.rex.internal.", dns.TypeA).SetEdns0(4096, true)
	cookie.IsEdns0().Option = append(cookie.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
	for _, q := range []*dns.Msg{
		query("web.prod.rex.internal.", dns.TypeA), query("_web._tcp.prod.rex.internal.", dns.TypeSRV), cookie,
		query("nope.rex.internal.", dns.TypeANY), query("rex.internal.", dns.TypeAXFR), query("example.com.", dns.TypeMX),
		query("x.rex.internal.", dns.TypeA).SetEdns0(4096, true), query("rex.internal.", dns.TypeDNSKEY).SetEdns0(512, true),
		new(dns.Msg).SetUpdate("rex.internal."), new(dns.Msg).SetNotify("rex.internal."), new(dns.Msg).SetIxfr("rex.internal.", 4000, "ns.", "x."),
	} {
		data, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		signed, _, err := dns.TsigGenerate(q.SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix()), key.Secret, "", false)
		if err != nil {
			f.Fatal(err)
		}
		packed = append(packed, data, data[:len(data)-1], signed)
	}
	return append(packed,
		[]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"),              // a name that points at itself
		[]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\xc0\x0e\xc0\x0c\x00\x01\x00\x01"), // and two at each other
		[]byte("\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"),                                      // no question
		[]byte("\x00\x01\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x01\x00\x01"))
}

// fuzzHandler has all that can be turned on.
func fuzzHandler(f *testing.F) *Handler {
	f.Helper()
	h, _ := transferHandler(f)
	s, err := LoadSigner(f.TempDir() + "/key")
	if err != nil {
		f.Fatal(err)
	}
	h.Sign(s)
	return h
}

func FuzzAnswer(f *testing.F) {
	plain, full := testHandler(f), fuzzHandler(f)
	for _, packed := range seeds(f) {
		f.Add(packed, true)
		f.Add(packed, false)
	}
	f.Fuzz(func(t *testing.T, packet []byte, udp bool) {
		for _, h := range []*Handler{plain, full} {
			reply, forward := h.Answer(nil, packet, netip.MustParseAddrPort("127.0.0.1:1"), udp)
			if n := h.metrics.shard(0).panics.Load(); n > 0 {
				h.metrics.shard(0).panics.Store(0)
				t.Fatal("it panicked")
			}
			if reply == nil || forward {
				continue
			}
			if len(packet) < headerLen || reply[0] != packet[0] || reply[1] != packet[1] || reply[2]&bitQR == 0 {
				t.Fatalf("not a reply to it: %x", reply)
			}
			if udp && len(reply) > maxUDP {
				t.Fatalf("%d bytes over UDP", len(reply))
			}
			var msg dns.Msg
			if err := msg.Unpack(reply); err != nil {
				t.Fatalf("reply does not unpack: %v\n%s", err, hex.Dump(reply))
			}
		}
	})
}

// FuzzTransfer sends what asks for a transfer, more or less.
func FuzzTransfer(f *testing.F) {
	h := fuzzHandler(f)
	for _, packed := range seeds(f) {
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if !isTransfer(packet) {
			return
		}
		err := h.transfer(packet, loopback.Addr(), func(reply []byte) error {
			var msg dns.Msg
			if err := msg.Unpack(reply); err != nil {
				t.Fatalf("reply does not unpack: %v\n%s", err, hex.Dump(reply))
			}
			if len(msg.Answer) > 0 && msg.IsTsig() == nil {
				t.Fatal("who did not sign got records")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzScrub is given what a resolver may answer.
func FuzzScrub(f *testing.F) {
	for _, rrs := range [][]string{
		{"www.example.com. 60 IN A 192.0.2.1"}, {"www.example.com. 60 IN CNAME www.example.com.", "www.example.com. 60 IN A 192.0.2.1"},
		{"www.example.com. 60 IN CNAME a.rex.internal.", "a.rex.internal. 60 IN A 192.0.2.1"}, {"example.com. 60 IN DNAME example.net."},
	} {
		reply := new(dns.Msg).SetReply(query("www.example.com.", dns.TypeA))
		for _, rr := range rrs {
			reply.Answer = append(reply.Answer, mustRR(rr))
		}
		reply.Ns = []dns.RR{mustRR("example.com. 60 IN SOA a. b. 1 2 3 4 5")}
		packed, err := reply.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	own := func(name string) bool { return strings.HasSuffix(name, "rex.internal.") }
	f.Fuzz(func(t *testing.T, packet []byte) {
		var in, out dns.Msg
		if in.Unpack(packet) != nil || len(in.Question) != 1 {
			return
		}
		packed, life, err := scrub(&in, own)
		if err != nil {
			return // what cannot be packed is not passed on
		}
		if err := out.Unpack(packed); err != nil {
			t.Fatalf("what is passed on does not unpack: %v\n%s", err, hex.Dump(packed))
		}
		for _, rr := range append(out.Answer, out.Ns...) {
			if own(rr.Header().Name) {
				t.Fatalf("it speaks for us: %v", rr)
			}
		}
		c := newCache()
		c.put("key", packed, life, time.Unix(0, 0))
		c.get("key", time.Unix(1, 0))
	})
}

// FuzzFeed is given what comes over a network's socket.
func FuzzFeed(f *testing.F) {
	messages, err := encodeTable(testTable(), 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(messages[0], []byte(`{"v":1,"type":"sets","gen":1,"of":1,"serial":7,"sets":[{"n":"a.rex.internal","t":"A","r":[{"n":"a.rex.internal","t":"A","s":5,"a":"10.0.0.1"}]}]}`))
	f.Add(messages[0], []byte(`{"v":1,"type":"serial","gen":1,"serial":8}`))
	f.Add([]byte(`{"v":1,"type":"zone","of":1,"domain":"..","reverse":["0.0.0.0/0","10.0.0.0/9"],"ns":["::1"]}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		h := NewHandler(nil, nil)
		a := arrival{onZone: h.SetZone}
		for _, data := range [][]byte{first, second} {
			var m feedMessage
			if json.Unmarshal(data, &m) != nil || a.take(&m) != nil {
				return
			}
		}
		packed, err := query("a.rex.internal.", dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if reply, _ := h.Answer(nil, packed, loopback, true); len(reply) < headerLen || h.metrics.shard(0).panics.Load() > 0 {
			t.Fatalf("reply %x", reply)
		}
	})
}
