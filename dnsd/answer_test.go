package dnsd

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var (
	inside   = netip.MustParseAddrPort("10.66.0.9:4000")
	stranger = netip.MustParseAddrPort("192.0.2.1:4000")
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// testTable has one host, a service of three members, a name outside of the
// domain, a lone SRV and a set that does not fit into a UDP packet.
func testTable() *Table {
	t := &Table{
		Domain: "rex.internal", Serial: 4242,
		Reverse: []netip.Prefix{netip.MustParsePrefix("10.66.0.0/24"), netip.MustParsePrefix("fd00:66::/64")},
		NS:      []netip.Addr{addr("10.66.0.1")},
	}
	add := func(r Record) { t.Records = append(t.Records, r) }
	host := func(name, ip string) {
		add(Record{Name: name, Type: "A", TTL: 30, Addr: addr(ip)})
		add(Record{Name: reverseLabels(addr(ip), 32), Type: "PTR", TTL: 30, Target: name})
	}
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("web-%d.prod.rex.internal", i)
		host(name, fmt.Sprintf("10.66.0.%d", 10+i))
		add(Record{Name: "web.prod.rex.internal", Type: "A", TTL: 5, Addr: addr(fmt.Sprintf("10.66.0.%d", 10+i))})
		add(Record{Name: "_web._tcp.prod.rex.internal", Type: "SRV", TTL: 5, Target: name, Port: 8080})
	}
	host("db.prod.rex.internal", "10.66.0.20")
	add(Record{Name: "db.prod.rex.internal", Type: "AAAA", TTL: 30, Addr: addr("fd00:66::20")})
	add(Record{Name: reverseLabels(addr("fd00:66::20"), 128), Type: "PTR", TTL: 30, Target: "db.prod.rex.internal"})
	add(Record{Name: "docs.example.org", Type: "A", TTL: 30, Addr: addr("10.66.0.30")})
	for i := range 200 {
		add(Record{Name: "many.prod.rex.internal", Type: "A", TTL: 5, Addr: addr(fmt.Sprintf("10.66.1.%d", i))})
		add(Record{Name: "_many._tcp.prod.rex.internal", Type: "SRV", TTL: 5, Port: uint16(i + 1), Target: "db.prod.rex.internal"})
	}
	return t
}

func testHandler(tb testing.TB) *Handler {
	tb.Helper()
	h := NewHandler(func(a netip.Addr) bool { return netip.MustParsePrefix("10.0.0.0/8").Contains(a) }, nil)
	h.SetZone(NewZone(testTable()))
	if n := h.Zone().Skipped; n > 0 {
		tb.Fatalf("%d records skipped", n)
	}
	return h
}

// ask packs q, has it answered and unpacks the reply; nil if there is none.
func ask(tb testing.TB, h *Handler, q *dns.Msg, from netip.AddrPort, udp bool) (reply *dns.Msg, forward bool) {
	tb.Helper()
	query, err := q.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	out, forward := h.Answer(nil, query, from, udp)
	if out == nil {
		return nil, forward
	}
	reply = new(dns.Msg)
	if err := reply.Unpack(out); err != nil {
		tb.Fatalf("the reply does not unpack: %v\n%s", err, hex.Dump(out))
	}
	if reply.Id != q.Id || !reply.Response {
		tb.Fatalf("id %d, response %v, want %d and a response", reply.Id, reply.Response, q.Id)
	}
	return reply, forward
}

func query(name string, typ uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, typ) }

func TestRotationShowsEveryMemberFirst(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	for name, typ := range map[string]uint16{"web.prod.rex.internal.": dns.TypeA, "_web._tcp.prod.rex.internal.": dns.TypeSRV} {
		first := map[string]int{}
		for range 30 {
			reply, _ := ask(t, h, query(name, typ), inside, true)
			if len(reply.Answer) != 3 {
				t.Fatalf("%d members, want 3", len(reply.Answer))
			}
			first[reply.Answer[0].String()]++
		}
		if len(first) != 3 {
			t.Errorf("%s: first were %v, want all three", name, first)
		}
		for member, n := range first {
			if n != 10 {
				t.Errorf("%s was first %d times of 30, want 10", member, n)
			}
		}
	}
}

func TestQuestionKeepsItsLetterCase(t *testing.T) {
	t.Parallel()
	const name = "wEb-1.PROD.rex.InTernal."
	reply, _ := ask(t, testHandler(t), query(name, dns.TypeA), inside, true)
	if got := reply.Question[0].Name; got != name {
		t.Errorf("question %s, want %s", got, name)
	}
	if len(reply.Answer) != 1 || reply.Answer[0].Header().Name != name {
		t.Errorf("answer %v", reply.Answer)
	}
}

func TestUDPReplyFitsAndSaysWhenItIsCut(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	for _, c := range []struct {
		size      uint16 // 0: no EDNS
		typ       uint16
		name      string
		udp       bool
		limit     int
		truncated bool
	}{
		{0, dns.TypeA, "many.prod.rex.internal.", true, 512, true},
		{100, dns.TypeA, "many.prod.rex.internal.", true, 512, true},
		{4096, dns.TypeA, "many.prod.rex.internal.", true, 1232, true},
		{4096, dns.TypeSRV, "_many._tcp.prod.rex.internal.", true, 1232, true},
		{0, dns.TypeA, "many.prod.rex.internal.", false, 65535, false},
		{4096, dns.TypeSRV, "_many._tcp.prod.rex.internal.", false, 65535, false},
		{0, dns.TypeSRV, "_web._tcp.prod.rex.internal.", true, 512, false},
	} {
		q := query(c.name, c.typ)
		if c.size > 0 {
			q.SetEdns0(c.size, false)
		}
		packed, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out, _ := h.Answer(nil, packed, inside, c.udp)
		reply := new(dns.Msg)
		if err := reply.Unpack(out); err != nil {
			t.Fatal(err)
		}
		if len(out) > c.limit || reply.Truncated != c.truncated || len(reply.Answer) == 0 {
			t.Errorf("%+v: %d bytes, truncated %v, %d answers", c, len(out), reply.Truncated, len(reply.Answer))
		}
		if (reply.IsEdns0() != nil) != (c.size > 0) {
			t.Errorf("%+v: EDNS in the reply %v", c, reply.IsEdns0())
		}
	}
}

func TestOnlyOwnNetworksMayRecurse(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	reply, forward := ask(t, h, query("example.com.", dns.TypeA), inside, true)
	if reply != nil || !forward {
		t.Errorf("from inside: %v, forward %v", reply, forward)
	}
	reply, forward = ask(t, h, query("example.com.", dns.TypeA), stranger, true)
	if forward || reply.Rcode != dns.RcodeRefused || reply.RecursionAvailable {
		t.Errorf("from outside: %v, forward %v", reply, forward)
	}
	q := query("example.com.", dns.TypeA)
	q.RecursionDesired = false
	if reply, forward = ask(t, h, q, inside, true); forward || reply.Rcode != dns.RcodeRefused {
		t.Errorf("recursion not desired: %v, forward %v", reply, forward)
	}
	if reply, _ = ask(t, h, query("db.prod.rex.internal.", dns.TypeA), stranger, true); reply.Rcode != 0 || len(reply.Answer) != 1 {
		t.Errorf("our own name from outside: %v", reply)
	}
	// A hostname outside of the domain is ours, its parent and children are not.
	for name, want := range map[string]bool{"docs.example.org.": false, "example.org.": true, "www.docs.example.org.": true} {
		if _, forward := ask(t, h, query(name, dns.TypeA), inside, true); forward != want {
			t.Errorf("%s: forward %v, want %v", name, forward, want)
		}
	}
}

func TestSerialFollowsTheStateWithoutRepacking(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	h.SetZone(h.Zone().WithSerial(99))
	for name, section := range map[string]func(*dns.Msg) []dns.RR{
		"rex.internal.":           func(m *dns.Msg) []dns.RR { return m.Answer },
		"66.10.in-addr.arpa.":     nil, // above our reverse zone
		"0.66.10.in-addr.arpa.":   func(m *dns.Msg) []dns.RR { return m.Answer },
		"nope.prod.rex.internal.": func(m *dns.Msg) []dns.RR { return m.Ns },
	} {
		reply, forward := ask(t, h, query(name, dns.TypeSOA), inside, true)
		if section == nil {
			if !forward {
				t.Errorf("%s is not ours, got %v", name, reply)
			}
			continue
		}
		rrs := section(reply)
		if len(rrs) != 1 || rrs[0].(*dns.SOA).Serial != 99 {
			t.Errorf("%s: %v, want an SOA with serial 99", name, rrs)
		}
	}
}

func TestBadRecordsDoNotTakeTheZoneDown(t *testing.T) {
	t.Parallel()
	z := NewZone(&Table{Domain: "rex.internal", Records: []Record{
		{Name: "", Type: "A", Addr: addr("10.0.0.1")},
		{Name: "a..rex.internal", Type: "A", Addr: addr("10.0.0.1")},
		{Name: strings.Repeat("a", 64) + ".rex.internal", Type: "A", Addr: addr("10.0.0.1")},
		{Name: strings.Repeat("a.", 130) + "rex.internal", Type: "A", Addr: addr("10.0.0.1")},
		{Name: "x.rex.internal", Type: "A"},
		{Name: "x.rex.internal", Type: "A", Addr: addr("fd00::1")},
		{Name: "x.rex.internal", Type: "TXT"},
		{Name: "x.rex.internal", Type: "SRV", Target: "not..a.name"},
		{Name: "good.rex.internal", Type: "A", TTL: 30, Addr: addr("10.0.0.2")},
		{Name: "good.rex.internal", Type: "A", TTL: 30, Addr: addr("10.0.0.2")}, // twice: served once
	}})
	if z.Skipped != 8 || z.Records != 1 {
		t.Errorf("skipped %d, served %d; want 8 and 1", z.Skipped, z.Records)
	}
}

func TestReverseZonesCoverThePrefixAndNoMore(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string][]string{
		"10.66.0.0/24": {"0.66.10.in-addr.arpa"},
		"10.0.0.0/8":   {"10.in-addr.arpa"},
		"10.66.4.0/23": {"4.66.10.in-addr.arpa", "5.66.10.in-addr.arpa"},
		"10.66.0.4/30": {"4.0.66.10.in-addr.arpa", "5.0.66.10.in-addr.arpa", "6.0.66.10.in-addr.arpa", "7.0.66.10.in-addr.arpa"},
		"10.66.0.1/32": {"1.0.66.10.in-addr.arpa"},
		"fd00:66::/32": {"6.6.0.0.0.0.d.f.ip6.arpa"},
		"fd00:66::/30": {"4.6.0.0.0.0.d.f.ip6.arpa", "5.6.0.0.0.0.d.f.ip6.arpa", "6.6.0.0.0.0.d.f.ip6.arpa", "7.6.0.0.0.0.d.f.ip6.arpa"},
		"fd00:66::/27": {"6.0.0.0.0.d.f.ip6.arpa", "7.0.0.0.0.d.f.ip6.arpa"},
		"0.0.0.0/0":    nil,
	} {
		if got := reverseZones(netip.MustParsePrefix(prefix)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", prefix, got, want)
		}
	}
}

func TestNothingIsForwardedBeforeTheFirstZone(t *testing.T) {
	t.Parallel()
	h := NewHandler(func(netip.Addr) bool { return true }, nil)
	for _, name := range []string{"db.prod.rex.internal.", "example.com."} {
		if reply, forward := ask(t, h, query(name, dns.TypeA), inside, true); forward || reply.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s: %v, forward %v, want SERVFAIL", name, reply, forward)
		}
	}
}
