package fsm

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/spec"
)

// tellGuest reads: lease NETWORK ADDRESS CLIENT [name=N] [seconds=N], end
// NETWORK ADDRESS CLIENT HOW, end due.
func (l *log) tellGuest(cmd string, word func(int) string, opt func(key, or string) string) string {
	if cmd == "end" && word(0) == "due" {
		out := ""
		for _, c := range GuestsDue(l.s, l.now) {
			out += l.told(c)
		}
		return out
	}
	addr, client := netip.MustParseAddr(word(1)), word(2)
	if client == "-" {
		client = ""
	}
	if cmd == "end" {
		return l.told(EndGuests{word(0), HostID(opt("host", "h1")), []GuestEnd{{addr, client, word(3)}}})
	}
	return l.told(LeaseGuests{word(0), HostID(opt("host", "h1")), []GuestAsk{{
		Addr: addr, Client: client, MAC: client, Hostname: opt("name", ""), Seconds: uint32(number(opt("seconds", "3600"))),
	}}})
}

func drawGuest(rt *rapid.T, l *log) Command {
	network := rapid.SampledFrom([]string{"a-net", "b-net", "both", "none"}).Draw(rt, "network")
	base := map[string]string{"a-net": "10.0.0.", "b-net": "10.0.1.", "both": "10.9.0.", "none": "10.7.0."}[network]
	addr := func() netip.Addr {
		return netip.MustParseAddr(fmt.Sprint(base, rapid.IntRange(1, 7).Draw(rt, "addr")))
	}
	client := func() string { return rapid.SampledFrom([]string{"c1", "c2", "c3", "c4", ""}).Draw(rt, "client") }
	if rapid.IntRange(0, 2).Draw(rt, "end") == 0 {
		if due := GuestsDue(l.s, l.now); len(due) > 0 && rapid.Bool().Draw(rt, "due") {
			return due[0]
		}
		return EndGuests{network, "h1", []GuestEnd{{addr(), client(), rapid.SampledFrom([]string{GuestReleased, GuestDeclined, GuestExpired, GuestForget, "odd"}).Draw(rt, "how")}}}
	}
	c := LeaseGuests{Network: network, Host: "h1"}
	for range rapid.IntRange(0, 3).Draw(rt, "guests") {
		c.Guests = append(c.Guests, GuestAsk{
			addr(), client(), "52:54:00:00:00:01",
			rapid.SampledFrom([]string{"", "printer", "a-web-1", "web", "db", "-", "UP"}).Draw(rt, "name"),
			uint32(rapid.IntRange(0, 100).Draw(rt, "seconds")),
		})
	}
	return c
}

// checkGuestStep: nobody gets an address that a guest has, or had a moment ago.
func checkGuestStep(tb fataler, before, after *State) {
	tb.Helper()
	for key, was := range before.Guests.All {
		now, still := after.Guests.Get(key)
		lease, jail := after.Leases.Get(key)
		if _, network := after.Networks.Get(was.Network); !network {
			continue
		}
		other := still && now.Live() && now.Client != was.Client || jail && lease.Jail != ""
		if other && !was.FreeFor("", after.Now) {
			tb.Fatalf("index %d: %s is of guest %q until %d (freed %d), and given away at %d", after.Index, was.Addr, was.Client, was.Expires, was.FreedAt, after.Now)
		}
	}
}

// TestGuestsShareAnEntry: one that cannot have what it wants does not hold up
// the others.
func TestGuestsShareAnEntry(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 1)})
	ask := func(last int, client string) GuestAsk {
		return GuestAsk{Addr: netip.AddrFrom4([4]byte{10, 66, 0, byte(last)}), Client: client, MAC: client, Seconds: 60}
	}
	events := l.must(LeaseGuests{"demo-net", "h1", []GuestAsk{ask(200, "a"), ask(200, "b"), ask(3, "c"), ask(1, "d"), ask(255, "e"), ask(201, "f")}})
	checkInvariants(t, l.s)
	if len(events) != 2 || l.s.GuestOf("demo-net", "a") == nil || l.s.GuestOf("demo-net", "f") == nil {
		t.Fatalf("got %d events, want the leases of a and f", len(events))
	}
}

// TestLeaseIsNotReusedBeforeExpiry: by the time that the log has, whatever
// clock the leader had.
func TestLeaseIsNotReusedBeforeExpiry(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 0)})
	addr := netip.MustParseAddr("10.66.0.200")
	lease := func(client string) *Guest {
		l.must(LeaseGuests{"demo-net", "h1", []GuestAsk{{Addr: addr, Client: client, MAC: client, Seconds: 100}}})
		checkInvariants(t, l.s)
		return l.s.GuestAt("demo-net", addr)
	}
	first := lease("a")
	l.now = first.Expires.Add(RestTime) - 1 - second // an entry comes a second later
	if g := lease("b"); g.Client != "a" {
		t.Fatalf("%q got it a nanosecond before it was free", g.Client)
	}
	l.now = first.Expires.Add(RestTime) - second
	if g := lease("b"); g.Client != "b" {
		t.Fatalf("%q has it, want b", g.Client)
	}
}

var recordGuests = flag.Bool("record-guests", false, "write testdata/log/v2-guests anew: only before it is released")

// TestRecordGuestLog keeps a log of what came with guests, if it was asked to.
func TestRecordGuestLog(t *testing.T) {
	l := newLog(t)
	h := host("h1")
	h.Host.Level = Level
	l.must(h)
	w := testWish("demo", "10.66.0.0/24", 2)
	w.Networks[0].DHCP = &spec.DHCP{Ranges: []spec.AddrRange{{First: netip.MustParseAddr("10.66.0.3"), Last: netip.MustParseAddr("10.66.0.9")}}}
	l.must(ApplyWish{Wish: w})
	ask := func(last int, client, name string) GuestAsk {
		return GuestAsk{netip.AddrFrom4([4]byte{10, 66, 0, byte(last)}), client, client, name, 60}
	}
	l.must(LeaseGuests{"demo-net", "h1", []GuestAsk{ask(3, "a", "printer"), ask(4, "b", ""), ask(5, "c", "laptop"), ask(6, "d", "")}})
	l.must(EndGuests{"demo-net", "h1", []GuestEnd{{ask(4, "", "").Addr, "b", GuestReleased}, {ask(5, "", "").Addr, "c", GuestDeclined}}})
	l.must(LeaseGuests{"demo-net", "h1", []GuestAsk{ask(7, "d", "")}})
	l.now += 100 * second
	for _, c := range GuestsDue(l.s, l.now) {
		l.must(c)
	}
	l.must(ApplyWish{Wish: testWish("demo", "10.66.0.0/24", 9)})
	l.now = l.now.Add(GuestMemory)
	for _, c := range GuestsDue(l.s, l.now) {
		l.must(c)
	}
	checkInvariants(t, l.s)
	if !*recordGuests {
		return
	}
	var b bytes.Buffer
	for _, item := range l.items {
		b.Write(item.Raw)
		b.WriteByte('\n')
	}
	dir := filepath.Join("testdata", "log", "v2-guests")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"log.jsonl": b.Bytes(), "state.txt": []byte(dumpOf(l.s))} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
