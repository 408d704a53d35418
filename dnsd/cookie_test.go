package dnsd

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// The examples of RFC 9018, appendix A.
func TestServerCookiesAreThoseOfTheRFC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ secret, from, client, server string }{
		{"e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100", "2464c4abcf10c957", "010000005cf79f111f8130c3eee29480"},
		{"445536bcd2513298075a5d379663c962", "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298", "010000005cf7c609a6bb79d16625507a"},
	} {
		secret, client, want := unhex(t, c.secret), unhex(t, c.client), unhex(t, c.server)
		k := cookies{binary.LittleEndian.Uint64(secret), binary.LittleEndian.Uint64(secret[8:])}
		made := binary.BigEndian.Uint32(want[4:])
		if got := k.server(nil, client, netip.MustParseAddr(c.from), made); string(got) != string(want) {
			t.Errorf("%s: cookie %x, want %x", c.from, got, want)
		}
		full := append(client, want...)
		for age, valid := range map[int]bool{0: true, cookieAge: true, cookieAge + 1: false, -cookieAhead: true, -cookieAhead - 1: false} {
			if got := k.valid(full, netip.MustParseAddr(c.from), uint32(int(made)+age)); got != valid {
				t.Errorf("%s: %d s old: valid %v", c.from, age, got)
			}
		}
		if k.valid(full, netip.MustParseAddr("192.0.2.1"), made) {
			t.Error("a cookie counts from elsewhere")
		}
		full[3]++
		if k.valid(full, netip.MustParseAddr(c.from), made) {
			t.Error("a cookie counts for another client's")
		}
	}
}

// withCookie asks with cookie in hexadecimal and returns the reply's.
func withCookie(tb testing.TB, h *Handler, q *dns.Msg, cookie string, from netip.AddrPort) (reply *dns.Msg, got string) {
	tb.Helper()
	q.SetEdns0(maxUDP, false)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	reply, _ = ask(tb, h, q, from, true)
	if reply == nil || reply.IsEdns0() == nil {
		return reply, ""
	}
	for _, option := range reply.IsEdns0().Option {
		if c, ok := option.(*dns.EDNS0_COOKIE); ok {
			got = c.Cookie
		}
	}
	return reply, got
}

func TestEveryReplyCarriesTheCookie(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	const client = "0123456789abcdef"
	for _, c := range []struct {
		name string
		typ  uint16
		from netip.AddrPort
	}{
		{"db.prod.rex.internal.", dns.TypeA, inside}, {"nope.rex.internal.", dns.TypeA, inside}, {"_many._tcp.prod.rex.internal.", dns.TypeSRV, inside},
		{"db.prod.rex.internal.", dns.TypeANY, inside}, {"nope.rex.internal.", dns.TypeANY, inside}, {"rex.internal.", dns.TypeAXFR, inside},
		{"example.com.", dns.TypeA, stranger}, {"db.prod.rex.internal.", dns.TypeTKEY, inside},
	} {
		_, cookie := withCookie(t, h, query(c.name, c.typ), client, c.from)
		if len(cookie) != 2*cookieLen || cookie[:16] != client {
			t.Errorf("%s %s: cookie %q", c.name, dns.TypeToString[c.typ], cookie)
			continue
		}
		if full := unhex(t, cookie); !h.cookies.valid(full, c.from.Addr(), uint32(time.Now().Unix())) {
			t.Errorf("%s %s: cookie %q is not ours", c.name, dns.TypeToString[c.typ], cookie)
		}
	}
	if reply, _ := withCookie(t, h, query("db.prod.rex.internal.", dns.TypeA), "0123", inside); reply.Rcode != dns.RcodeFormatError {
		t.Errorf("a cookie of two bytes: %v", reply)
	}
}

func TestStrangersAreLimitedUnlessTheyShowACookie(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	from := netip.MustParseAddrPort("192.0.2.77:1234")
	packed, err := query("db.prod.rex.internal.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	w := worker{shard: h.metrics.shard(0), now: 1000}
	count := func(from netip.AddrPort, n int) (full, empty, silent int) {
		for range n {
			reply, _ := h.answer(nil, packed, from, true, &w)
			switch {
			case reply == nil:
				silent++
			case reply[2]&bitTC != 0 && reply[7] == 0:
				empty++
			default:
				full++
			}
		}
		return full, empty, silent
	}
	if full, empty, silent := count(from, StrangerRate+100); full != StrangerRate || empty != 50 || silent != 50 {
		t.Errorf("%d answers, %d sent to TCP, %d without reply", full, empty, silent)
	}
	neighbour := netip.MustParseAddrPort("192.0.2.78:1234")
	if full, _, _ := count(neighbour, 10); full != 0 {
		t.Errorf("its neighbour had %d answers", full)
	}
	if reply, _ := h.answer(nil, packed, from, false, &w); reply == nil || reply[7] == 0 {
		t.Error("over TCP it is limited too")
	}
	if full, _, _ := count(inside, StrangerRate+100); full != StrangerRate+100 {
		t.Errorf("a jail had %d answers", full)
	}
	if full, _, _ := count(netip.MustParseAddrPort("127.0.0.1:1"), 2*OwnRate); full != 2*OwnRate {
		t.Errorf("the host itself had %d answers", full)
	}
	cookie := append([]byte("01234567"), h.cookies.server(nil, []byte("01234567"), neighbour.Addr(), w.now)...)
	q := query("db.prod.rex.internal.", dns.TypeA).SetEdns0(maxUDP, false)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(cookie)})
	if packed, err = q.Pack(); err != nil {
		t.Fatal(err)
	}
	if full, _, _ := count(neighbour, 100); full != 100 {
		t.Errorf("with a cookie %d answers of 100", full)
	}
	w.now++
	if packed, err = query("db.prod.rex.internal.", dns.TypeA).Pack(); err != nil {
		t.Fatal(err)
	}
	if full, _, _ := count(from, 10); full != 10 {
		t.Errorf("a second later %d answers of 10", full)
	}
}

func TestOneJailDoesNotStarveTheOthers(t *testing.T) {
	t.Parallel()
	h := testHandler(t)
	packed, err := query("db.prod.rex.internal.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	w := worker{shard: h.metrics.shard(0), now: 1000}
	answers := 0
	for range OwnRate + 1000 {
		if reply, _ := h.answer(nil, packed, inside, true, &w); reply != nil {
			answers++
		}
	}
	if answers != OwnRate {
		t.Errorf("%d answers in a second, want %d", answers, OwnRate)
	}
	if reply, _ := h.answer(nil, packed, netip.MustParseAddrPort("10.66.0.10:53"), true, &w); reply == nil {
		t.Error("another jail has none")
	}
}
