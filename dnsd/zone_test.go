package dnsd

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// contents is all of z as text: each name with its sets.
func contents(z *Zone) map[string][]string {
	out := map[string][]string{"count": {fmt.Sprint(z.Records, z.names.count)}}
	z.names.all(func(n *node) {
		lines := []string{fmt.Sprintf("apex %q alone %v at %d, %d below", n.apex.name, n.apex.alone, n.off, n.below)}
		for _, a := range n.sets {
			lines = append(lines, fmt.Sprintf("%d n=%d ttl=%d size=%d %x %v", a.typ, a.n, a.ttl, a.size, a.tail, a.refs))
		}
		slices.Sort(lines[1:])
		out[fmt.Sprintf("%q", n.name)] = lines
	})
	return out
}

// drawRecord draws from few names, so that sets grow, shrink and vanish.
func drawRecord(t *rapid.T) Record {
	name := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "_s", "_tcp"}), 1, 3).Draw(t, "labels"), ".")
	name += "." + rapid.SampledFrom([]string{"rex.internal", "example.org", "66.10.in-addr.arpa", "internal"}).Draw(t, "parent")
	if rapid.IntRange(0, 9).Draw(t, "server") == 0 {
		name = "ns.rex.internal"
	}
	r := Record{Name: name, TTL: rapid.Uint32Range(1, 3).Draw(t, "ttl")}
	switch r.Type = rapid.SampledFrom([]string{"A", "AAAA", "PTR", "SRV"}).Draw(t, "type"); r.Type {
	case "A":
		r.Addr = netip.AddrFrom4([4]byte{10, 66, 0, rapid.Byte().Draw(t, "addr")})
	case "AAAA":
		r.Addr = netip.AddrFrom16([16]byte{0xfd, 15: rapid.Byte().Draw(t, "addr")})
	default:
		r.Target, r.Port = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "target")+".rex.internal", 80
	}
	return r
}

func TestChangedZoneIsTheZoneOfAllRecords(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		head := Table{Domain: "rex.internal", NS: []netip.Addr{addr("10.66.0.1")}, Reverse: []netip.Prefix{netip.MustParsePrefix("10.66.0.0/16")}}
		records := map[Record]bool{}
		zone := NewZone(&head)
		for step := range rapid.IntRange(1, 6).Draw(t, "steps") {
			var touched []Record
			for _, r := range rapid.SliceOfN(rapid.Custom(drawRecord), 1, 20).Draw(t, "added") {
				records[r] = true
				touched = append(touched, r)
			}
			all := slices.SortedFunc(maps.Keys(records), func(a, b Record) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			for _, r := range all {
				if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
					delete(records, r)
					touched = append(touched, r)
				}
			}
			var sets []Set
			for _, r := range touched {
				if slices.ContainsFunc(sets, func(s Set) bool { return s.Name == r.Name && s.Type == r.Type }) {
					continue
				}
				s := Set{Name: r.Name, Type: r.Type}
				for _, q := range all {
					if records[q] && q.Name == r.Name && q.Type == r.Type {
						s.Records = append(s.Records, q)
					}
				}
				sets = append(sets, s)
			}
			before := contents(zone)
			next := zone.With(uint32(step), sets)
			if diff := cmp.Diff(before, contents(zone)); diff != "" {
				t.Fatalf("the Zone before changed:\n%s", diff)
			}
			zone = next
			table := head
			table.Records = slices.Collect(maps.Keys(records))
			if diff := cmp.Diff(contents(NewZone(&table)), contents(zone)); diff != "" {
				t.Fatalf("packed anew (-), changed (+):\n%s", diff)
			}
		}
	})
}

func TestZoneGrowsWithItsRecords(t *testing.T) {
	t.Parallel()
	table := benchTable(4000)
	zone := NewZone(&Table{Domain: table.Domain, NS: table.NS, Reverse: table.Reverse})
	for i := range table.Records {
		r := &table.Records[i]
		zone = zone.With(uint32(i), []Set{{Name: r.Name, Type: r.Type, Records: table.Records[i : i+1]}})
	}
	if diff := cmp.Diff(contents(NewZone(table)), contents(zone)); diff != "" {
		t.Errorf("packed at once (-), one by one (+):\n%s", diff)
	}
	if n := len(zone.past); n != maxDeltas {
		t.Errorf("%d changes are remembered, want %d", n, maxDeltas)
	}
	if last := zone.past[len(zone.past)-1].to; last != 3999 || zone.since != 3999-maxDeltas {
		t.Errorf("remembered until %d since %d", last, zone.since)
	}
}
