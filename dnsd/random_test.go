package dnsd

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// TestRandomZonesAnswerAsTheOracleDoes asks random zones random questions, over
// UDP of all sizes and over TCP.
func TestRandomZonesAnswerAsTheOracleDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table := Table{Domain: "rex.internal", Serial: 7, NS: []netip.Addr{addr("10.66.0.1")}, Reverse: []netip.Prefix{netip.MustParsePrefix("10.66.0.0/16")}}
		table.Records = rapid.SliceOfN(rapid.Custom(drawRecord), 0, 40).Draw(t, "records")
		many := rapid.IntRange(0, 80).Draw(t, "many")
		for i := range many {
			table.Records = append(table.Records, Record{Name: "many.rex.internal", Type: "A", TTL: 5, Addr: netip.AddrFrom4([4]byte{10, 66, 1, byte(i)})})
		}
		oneTTL(table.Records)
		h := NewHandler(func(netip.Addr) bool { return true }, nil)
		h.SetZone(NewZone(&table))
		names := []string{"many.rex.internal.", "rex.internal.", "ns.rex.internal.", "66.10.in-addr.arpa.", "no.rex.internal."}
		for _, r := range table.Records {
			_, above, _ := strings.Cut(r.Name, ".")
			names = append(names, r.Name+".", above+".", "x."+r.Name+".")
		}
		for range 10 {
			name := rapid.SampledFrom(names).Draw(t, "name")
			q := query(flip(t, name), rapid.SampledFrom([]uint16{dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeSRV, dns.TypeSOA, dns.TypeNS, dns.TypeTXT}).Draw(t, "type"))
			limit := minUDP
			if rapid.Bool().Draw(t, "edns") {
				size := rapid.Uint16().Draw(t, "size")
				q.SetEdns0(size, rapid.Bool().Draw(t, "do"))
				limit = max(minUDP, min(maxUDP, int(size)))
			}
			compare(t, h, &table, q, rapid.Bool().Draw(t, "udp"), limit)
		}
	})
}

// oneTTL gives all records of a set the same TTL: the oracle does not know that
// the shortest counts.
func oneTTL(records []Record) {
	ttls := map[string]uint32{}
	for i := range records {
		key := records[i].Name + records[i].Type
		if ttls[key] == 0 {
			ttls[key] = records[i].TTL
		}
		if records[i].Name == "ns.rex.internal" {
			ttls[key] = nsTTL
		}
		records[i].TTL = ttls[key]
	}
}

func flip(t *rapid.T, name string) string {
	bits := rapid.Uint64().Draw(t, "case")
	b := []byte(name)
	for i := range b {
		if bits>>(i%64)&1 != 0 && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

func compare(t *rapid.T, h *Handler, table *Table, q *dns.Msg, udp bool, limit int) {
	packed, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out, forward := h.Answer(nil, packed, loopback, udp)
	name := strings.ToLower(q.Question[0].Name)
	apexes, alone := oracleApexes(table)
	if forward == (within(name, apexes[:alone]) || slices.Contains(apexes, name)) {
		t.Fatalf("%s: forward %v", name, forward)
	}
	if forward {
		return
	}
	got := new(dns.Msg)
	if err := got.Unpack(out); err != nil {
		t.Fatal(err)
	}
	if udp && len(out) > limit {
		t.Fatalf("%d bytes over UDP, the limit is %d", len(out), limit)
	}
	if got.Question[0] != q.Question[0] {
		t.Fatalf("the question is %v, want %v", got.Question, q.Question)
	}
	want, have := sections(oracle(table, q)), sections(got)
	if diff := cmp.Diff(want, have); diff == "" {
		return
	} else if !udp {
		t.Fatalf("%v\n-want +got\n%s", q.Question, diff)
	}
	// It did not fit: nothing that is there is wrong, and TC is set where answers are missing.
	for _, section := range []string{"answer", "authority", "additional"} {
		for _, line := range have[section] {
			if !slices.Contains(want[section], line) {
				t.Fatalf("%v: %s has %s", q.Question, section, line)
			}
		}
	}
	if cut := len(have["answer"]) < len(want["answer"]); cut != got.Truncated || !slices.Equal(have["authority"], want["authority"]) {
		t.Fatalf("%v: answers missing %v, truncated %v", q.Question, cut, got.Truncated)
	}
	if full, err := oracle(table, q).Pack(); err == nil && len(full) < minUDP-optLen {
		t.Fatalf("%v: cut, but all of it would fit", q.Question)
	}
}
