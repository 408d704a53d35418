package dnsd

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// packReply is a reply to q with rrs, as scrub makes it.
func packReply(tb testing.TB, q *dns.Msg, rrs ...string) (packed []byte, life time.Duration) {
	tb.Helper()
	full := new(dns.Msg).SetReply(q)
	for _, rr := range rrs {
		if parsed := mustRR(rr); parsed.Header().Rrtype == dns.TypeSOA {
			full.Ns = append(full.Ns, parsed)
		} else {
			full.Answer = append(full.Answer, parsed)
		}
	}
	full.SetEdns0(1232, false)
	packed, life, err := scrub(full, func(string) bool { return false })
	if err != nil {
		tb.Fatal(err)
	}
	return packed, life
}

func unpack(tb testing.TB, packed []byte) *dns.Msg {
	tb.Helper()
	msg := new(dns.Msg)
	if err := msg.Unpack(packed); err != nil {
		tb.Fatal(err)
	}
	return msg
}

func TestCacheCountsTTLsDownAndGoesStale(t *testing.T) {
	t.Parallel()
	c, now := newCache(), time.Unix(1000, 0)
	reply, life := packReply(t, query("Example.com.", dns.TypeA), "example.com. 20 IN CNAME a.example.", "a.example. 10 IN A 192.0.2.1")
	if life != 10*time.Second {
		t.Fatalf("it lives for %v", life)
	}
	c.put("key", reply, life, now)
	got, stale, _ := c.get("key", now.Add(4*time.Second))
	msg := unpack(t, got)
	if a, b := msg.Answer[0].Header().Ttl, msg.Answer[1].Header().Ttl; a != 16 || b != 6 || stale {
		t.Errorf("after 4 s: TTLs %d and %d, stale %v", a, b, stale)
	}
	got, stale, retry := c.get("key", now.Add(10*time.Second))
	if msg := unpack(t, got); !stale || !retry || msg.Answer[1].Header().Ttl != staleTTL {
		t.Errorf("after its TTL: stale %v, %v", stale, msg)
	}
	c.failed("key", now.Add(10*time.Second))
	if _, _, retry := c.get("key", now.Add(10*time.Second+staleRetry-1)); retry {
		t.Error("resolvers are asked again at once")
	}
	if _, _, retry := c.get("key", now.Add(10*time.Second+staleRetry)); !retry {
		t.Error("resolvers are never asked again")
	}
	if got, _, _ := c.get("key", now.Add(10*time.Second+staleLife)); got != nil {
		t.Error("it is served for ever")
	}
	for i := range 3 * cacheEntries {
		c.put(fmt.Sprint(i), reply, life, now)
	}
	if n := len(c.entries); n > cacheEntries {
		t.Errorf("%d entries, the limit is %d", n, cacheEntries)
	}
}

func TestNegativeAnswersLiveAsLongAsTheirSOASays(t *testing.T) {
	t.Parallel()
	q := query("www.example.com.", dns.TypeA)
	for _, c := range []struct {
		rrs  []string
		want time.Duration
	}{
		{[]string{"example.com. 600 IN SOA a. b. 1 2 3 4 60"}, time.Minute},
		{[]string{"example.com. 30 IN SOA a. b. 1 2 3 4 60"}, 30 * time.Second},
		{[]string{"example.com. 90000 IN SOA a. b. 1 2 3 4 90000"}, negativeMax},
		{[]string{"www.example.com. 20 IN CNAME x.example.com.", "example.com. 600 IN SOA a. b. 1 2 3 4 60"}, 20 * time.Second},
		{nil, 0},
		{[]string{"www.example.com. 20 IN CNAME x.example.com."}, 0},
		{[]string{"www.example.com. 90000 IN A 192.0.2.1"}, cacheMax},
	} {
		if _, life := packReply(t, q, c.rrs...); life != c.want {
			t.Errorf("%v: %v, want %v", c.rrs, life, c.want)
		}
	}
}

func TestRecordsThatNobodyAskedForAreNotPassedOn(t *testing.T) {
	t.Parallel()
	reply := new(dns.Msg).SetReply(query("www.example.com.", dns.TypeA))
	for _, rr := range []string{
		"WWW.example.com. 60 IN CNAME cdn.example.net.", "cdn.example.net. 60 IN CNAME db.rex.internal.", "cdn.example.net. 60 IN A 192.0.2.1",
		"www.bank.example. 60 IN A 203.0.113.66", "db.rex.internal. 60 IN A 203.0.113.66", "www.example.com. 60 IN TXT x",
	} {
		reply.Answer = append(reply.Answer, mustRR(rr))
	}
	for _, rr := range []string{"example.net. 60 IN SOA a. b. 1 2 3 4 5", "bank.example. 60 IN NS ns.evil.example.", "rex.internal. 60 IN NS ns.evil.example."} {
		reply.Ns = append(reply.Ns, mustRR(rr))
	}
	reply.Extra = []dns.RR{mustRR("ns.bank.example. 60 IN A 203.0.113.66")}
	packed, _, err := scrub(reply, func(name string) bool { return strings.HasSuffix(name, "rex.internal.") })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	msg := unpack(t, packed)
	for _, rr := range slices.Concat(msg.Answer, msg.Ns, msg.Extra) {
		got = append(got, strings.Join(strings.Fields(rr.String()), " "))
	}
	want := []string{
		"www.example.com. 60 IN CNAME cdn.example.net.", "cdn.example.net. 60 IN CNAME db.rex.internal.", "cdn.example.net. 60 IN A 192.0.2.1",
		"example.net. 60 IN SOA a. b. 1 2 3 4 5",
	}
	if !slices.Equal(got, want) {
		t.Errorf("passed on:\n%s", strings.Join(got, "\n"))
	}
}

func TestResolversAreAskedInLettersOfChance(t *testing.T) {
	t.Parallel()
	var q question
	packed, err := query("a-long-name-with-many-letters.example.com.", dns.TypeA).Pack()
	if err != nil || !q.parse(packed) {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 20 {
		out := q.upstream(packed, true)
		msg := unpack(t, out)
		if !strings.EqualFold(msg.Question[0].Name, "a-long-name-with-many-letters.example.com.") || msg.IsEdns0() == nil {
			t.Fatalf("asked %v", msg)
		}
		seen[msg.Question[0].Name] = true
		if q.matches(out, packed) {
			t.Error("a reply in other letters is taken")
		}
	}
	if len(seen) < 15 {
		t.Errorf("only %d ways of writing it in 20", len(seen))
	}
}

// clock is a time that moves when it is told to.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(1000, 0).Add(time.Duration(c.offset.Load())) }

func TestStaleAnswersServeWhileNoResolverDoes(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	up := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if down.Load() {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)) // the asker may be gone
			return
		}
		answerWith("example.com. 60 IN A 192.0.2.7")(w, q)
	})
	f, c := NewForwarder([]netip.AddrPort{up.addr}, nil), &clock{}
	f.now = c.now
	server := startServer(t, localHandler(t), f)
	for _, step := range []struct {
		down  bool
		later time.Duration
		asked bool
		ttl   uint32
	}{
		{false, 0, true, 60},
		{true, 30 * time.Second, false, 30},      // from the cache
		{true, 31 * time.Second, true, staleTTL}, // its TTL is over, and nobody has a new one
		{true, time.Second, false, staleTTL},
		{false, staleRetry, true, 60},
	} {
		down.Store(step.down)
		c.offset.Add(int64(step.later))
		before := up.asked.Load()
		reply := exchange(t, server, "udp", query("example.com.", dns.TypeA))
		if len(reply.Answer) != 1 || reply.Answer[0].Header().Ttl != step.ttl {
			t.Errorf("%+v: %v", step, reply)
		}
		if asked := up.asked.Load() > before; asked != step.asked {
			t.Errorf("%+v: resolver asked %v", step, asked)
		}
	}
}

func TestWhatManyWantIsAskedOnce(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	up := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		<-open
		answerWith("example.com. 0 IN A 192.0.2.7")(w, q) // not to be kept
	})
	f := NewForwarder([]netip.AddrPort{up.addr}, nil)
	defer f.close()
	packed, err := query("example.com.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if reply := f.Forward(context.Background(), packed, true); reply[7] != 1 {
				t.Errorf("reply %x", reply)
			}
		})
	}
	for deadline := time.Now().Add(10 * time.Second); up.asked.Load() == 0 || len(f.slots) < 50; {
		if time.Now().After(deadline) {
			t.Fatalf("asked %d times, %d wait", up.asked.Load(), len(f.slots))
		}
		<-time.After(time.Millisecond)
	}
	close(open)
	all.Wait()
	// A straggler may have come after the answer; but not each asked by itself.
	if n := up.asked.Load(); n > 3 {
		t.Errorf("the resolver was asked %d times", n)
	}
}

func TestOneJailDoesNotTakeAllForwards(t *testing.T) {
	t.Parallel()
	f := NewForwarder(nil, nil)
	greedy, other := netip.MustParseAddr("10.66.0.9"), netip.MustParseAddr("10.66.0.10")
	n := 0
	for f.take(greedy) {
		n++
	}
	if n != maxOfOne || !f.take(other) {
		t.Errorf("one has %d forwards under way", n)
	}
	f.release(greedy)
	if !f.take(greedy) {
		t.Error("what was given back is not to be had")
	}
}

func TestQuickAnswersOvertakeSlowOnesOverTCP(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	up := startUpstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		<-open
		answerWith("example.com. 60 IN A 192.0.2.7")(w, q)
	})
	server := startServer(t, localHandler(t), NewForwarder([]netip.AddrPort{up.addr}, nil))
	conn, err := net.Dial("tcp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var all []byte
	for id, name := range []string{"example.com.", "db.prod.rex.internal."} {
		q := query(name, dns.TypeA)
		q.Id = uint16(id)
		packed, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(packed))), packed...)
	}
	if _, err := conn.Write(all); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	stream := &dns.Conn{Conn: conn}
	for _, want := range []uint16{1, 0} {
		reply, err := stream.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if reply.Id != want || len(reply.Answer) != 1 {
			t.Errorf("reply %v, want that to query %d", reply, want)
		}
		if want == 1 {
			close(open)
		}
	}
}
