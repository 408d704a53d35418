package dnsd

import (
	"testing"

	"github.com/miekg/dns"
)

func TestOddQueriesGetTheRightRefusal(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	with := func(q *dns.Msg, change func(*dns.Msg)) *dns.Msg {
		change(q)
		return q
	}
	const name = "db.prod.rex.internal."
	cases := []struct {
		what string
		q    *dns.Msg
		want int
	}{
		{"no question", with(query(name, dns.TypeA), func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		{"two questions", with(query(name, dns.TypeA), func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		{"answer in a query", with(query(name, dns.TypeA), func(m *dns.Msg) { m.Answer = []dns.RR{mustRR(name + " A 1.2.3.4")} }), dns.RcodeFormatError},
		{"truncated query", with(query(name, dns.TypeA), func(m *dns.Msg) { m.Truncated = true }), dns.RcodeFormatError},
		{"STATUS", with(query(name, dns.TypeA), func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }), dns.RcodeNotImplemented},
		{"NOTIFY", new(dns.Msg).SetNotify("rex.internal."), dns.RcodeNotImplemented},
		{"UPDATE", new(dns.Msg).SetUpdate("rex.internal."), dns.RcodeRefused},
		{"AXFR", query("rex.internal.", dns.TypeAXFR), dns.RcodeRefused},
		{"IXFR", new(dns.Msg).SetIxfr("rex.internal.", 1, "ns.", "x."), dns.RcodeRefused},
		{"CHAOS", with(query("version.bind.", dns.TypeTXT), func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		{"class ANY", with(query(name, dns.TypeA), func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }), dns.RcodeRefused},
		{"EDNS version 1", with(query(name, dns.TypeA).SetEdns0(1232, false), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		{"TSIG", query(name, dns.TypeA).SetTsig("key.", dns.HmacSHA256, 300, 1), dns.RcodeNotAuth},
		{"TKEY", query(name, dns.TypeTKEY), dns.RcodeNotImplemented},
		{"OPT asked for", query(name, dns.TypeOPT), dns.RcodeNotImplemented},
		{"OPT after another record", with(query(name, dns.TypeA), func(m *dns.Msg) {
			m.Extra = append(m.Extra, mustRR("x. A 1.2.3.4"))
			m.SetEdns0(1232, false)
		}), dns.RcodeSuccess},
		{"unknown EDNS option", with(query(name, dns.TypeA).SetEdns0(1232, false), func(m *dns.Msg) {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})
		}), dns.RcodeSuccess},
		{"root", query(".", dns.TypeNS), -1},
	}
	for _, c := range cases {
		reply, forward := ask(t, h, c.q, inside, true)
		switch {
		case c.want < 0:
			if !forward {
				t.Errorf("%s: %v, want it forwarded", c.what, reply)
			}
		case reply == nil || forward:
			t.Errorf("%s: reply %v, forward %v", c.what, reply, forward)
		case reply.Rcode != c.want:
			t.Errorf("%s: %s, want %s", c.what, dns.RcodeToString[reply.Rcode], dns.RcodeToString[c.want])
		}
	}
}

func TestANYIsAnsweredMinimally(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	reply, _ := ask(t, h, query("many.prod.rex.internal.", dns.TypeANY).SetEdns0(4096, false), inside, true)
	if len(reply.Answer) != 1 || reply.Answer[0].Header().Rrtype != dns.TypeHINFO {
		t.Errorf("answer %v, want one HINFO (RFC 8482)", reply.Answer)
	}
	reply, _ = ask(t, h, query("nope.rex.internal.", dns.TypeANY), inside, true)
	if reply.Rcode != dns.RcodeNameError || len(reply.Ns) != 1 || reply.Question[0].Qtype != dns.TypeANY {
		t.Errorf("a name that is not there: %v", reply)
	}
	if _, forward := ask(t, h, query("example.com.", dns.TypeANY), inside, true); !forward {
		t.Error("ANY of a foreign name was not forwarded")
	}
}

func TestPacketsThatDeserveNoReplyGetNone(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	response, err := query("db.prod.rex.internal.", dns.TypeA).SetRcode(query("x.", dns.TypeA), 0).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, packet := range [][]byte{nil, {1}, make([]byte, 11), response} {
		if reply, forward := h.Answer(nil, packet, inside, true); reply != nil || forward {
			t.Errorf("%x: reply %x, forward %v", packet, reply, forward)
		}
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	h := testHandler(t)
	buf := make([]byte, 0, 4096)
	for name, typ := range map[string]uint16{
		"db.prod.rex.internal.": dns.TypeA, "web.prod.rex.internal.": dns.TypeA, "_web._tcp.prod.rex.internal.": dns.TypeSRV,
		"nope.prod.rex.internal.": dns.TypeA, "db.prod.REX.internal.": dns.TypeMX, "rex.internal.": dns.TypeSOA, "many.prod.rex.internal.": dns.TypeA,
	} {
		packed, err := query(name, typ).SetEdns0(1232, true).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { h.Answer(buf, packed, inside, true) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
