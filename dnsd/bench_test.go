package dnsd

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// benchTable has n records, A and SRV by turns.
func benchTable(n int) *Table {
	t := &Table{Domain: "rex.internal", Serial: 1, NS: []netip.Addr{addr("10.0.0.1")}, Reverse: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}
	for i := range n / 2 {
		host := fmt.Sprintf("host-%d.prod.rex.internal", i)
		t.Records = append(t.Records,
			Record{Name: host, Type: "A", TTL: 30, Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
			Record{Name: fmt.Sprintf("_svc-%d._tcp.prod.rex.internal", i), Type: "SRV", TTL: 5, Target: host, Port: 8080})
	}
	return t
}

func benchAnswer(b *testing.B, name string, typ uint16) {
	h := NewHandler(nil, nil)
	h.SetZone(NewZone(benchTable(20000)))
	packed, err := query(name, typ).SetEdns0(1232, false).Pack()
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 1500)
	b.ReportAllocs()
	for b.Loop() {
		if reply, _ := h.Answer(buf, packed, loopback, true); len(reply) == 0 {
			b.Fatal("no reply")
		}
	}
}

func BenchmarkAnswerA(b *testing.B)   { benchAnswer(b, "host-77.prod.rex.internal.", dns.TypeA) }
func BenchmarkAnswerSRV(b *testing.B) { benchAnswer(b, "_svc-77._tcp.prod.rex.internal.", dns.TypeSRV) }
func BenchmarkAnswerNXDOMAIN(b *testing.B) {
	benchAnswer(b, "nope.prod.rex.internal.", dns.TypeA)
}

func BenchmarkNewZone20000(b *testing.B) {
	table := benchTable(20000)
	b.ReportAllocs()
	for b.Loop() {
		NewZone(table)
	}
}

func BenchmarkNewZone10000(b *testing.B) {
	table := benchTable(10000)
	b.ReportAllocs()
	for b.Loop() {
		NewZone(table)
	}
}

// BenchmarkChangeOneOf20000 is a change of one record.
func BenchmarkChangeOneOf20000(b *testing.B) {
	table := benchTable(20000)
	zone := NewZone(table)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := table.Records[2*(i%10000)]
		r.Addr = netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		zone = zone.With(uint32(i), []Set{{Name: r.Name, Type: r.Type, Records: []Record{r}}})
	}
}
