package dnsd

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Times of the SOA, seconds. Secondaries are notified of every change, so the
// refresh is for notifications that were lost; and a resolver may remember that a
// name is not there for as short as a service is healthy.
const (
	soaTTL     = 5
	soaRefresh = 60
	soaRetry   = 30
	soaExpire  = 86400
	nsTTL      = 60
	// maxPointer is how far a compression pointer reaches (RFC 1035 section 4.1.4).
	maxPointer = 0x3fff
)

// Set is all records of one name and type, as they are from now on; none
// means that there is no such set any more.
type Set struct {
	Name    string   `json:"n"` // lower case, no trailing dot
	Type    string   `json:"t"`
	Records []Record `json:"r,omitempty"`
}

// NewZone packs t. What cannot be served is counted, and does not keep the
// rest from being served.
func NewZone(t *Table) *Zone {
	b := newBase(t)
	z := &Zone{serial: t.Serial, since: t.Serial, base: b, names: makeNames(len(t.Records))}
	e := &edit{zone: z, chunk: min(1024, len(t.Records)/4+16)}
	e.addApex(t.Domain)
	for _, prefix := range t.Reverse {
		for _, name := range reverseZones(prefix) {
			e.addApex(name)
		}
	}
	// Records of one set mostly come together: they are packed at once. Those
	// that come later are added to what is there.
	for i := 0; i < len(t.Records); {
		r := &t.Records[i]
		end := i + 1
		for end < len(t.Records) && t.Records[end].Name == r.Name && t.Records[end].Type == r.Type {
			end++
		}
		e.put(r.Name, r.Type, t.Records[i:end], true)
		i = end
	}
	for i := range b.glue {
		e.put(b.server, b.glue[i].Type, b.glue[i:i+1], true)
	}
	*e = edit{} // nodes point to it, and shall keep nothing else alive
	return z
}

// With is z with sets, of each name and type one at most, in place of those that
// it has, under another serial. It costs what the sets cost, however large z is.
func (z *Zone) With(serial uint32, sets []Set) *Zone {
	next := *z
	next.serial = serial
	next.names.pages = slices.Clone(z.names.pages)
	e := &edit{zone: &next, chunk: min(1024, len(sets)+1), log: true}
	for i := range sets {
		s := &sets[i]
		e.put(s.Name, s.Type, s.Records, false)
	}
	next.remember(z, e.changes)
	*e = edit{}
	return &next
}

func newBase(t *Table) *base {
	b := &base{domain: t.Domain, server: "ns." + t.Domain, apexes: map[string]*apex{}}
	var errM, errR error
	b.mname, errM = appendName(nil, b.server)
	b.rname, errR = appendName(nil, "hostmaster."+t.Domain)
	if errM != nil || errR != nil { // no domain yet: a zone that knows nothing
		b.mname, b.rname = []byte{0}, []byte{0}
	}
	for _, addr := range t.NS {
		r := Record{Name: b.server, Type: "A", TTL: nsTTL, Addr: addr.Unmap()}
		if r.Addr.Is6() {
			r.Type = "AAAA"
		}
		b.glue = append(b.glue, r)
	}
	return b
}

// newApex is an apex of the name wire.
func (b *base) newApex(wire []byte, alone bool) *apex {
	numbers := binary.BigEndian.AppendUint32(nil, 0) // the serial is set in each answer
	for _, seconds := range []uint32{soaRefresh, soaRetry, soaExpire, soaTTL} {
		numbers = binary.BigEndian.AppendUint32(numbers, seconds)
	}
	record := appendRR(nil, toQuestion, dns.TypeSOA, soaTTL, b.mname, b.rname, numbers)
	return &apex{name: string(wire), soa: record[2:], alone: alone}
}

// apexSets are the sets that every apex has: SOA and NS.
func (b *base) apexSets(top *apex) []*answer {
	soa := append(binary.BigEndian.AppendUint16(nil, toQuestion), top.soa...)
	ns := appendRR(nil, toQuestion, dns.TypeNS, nsTTL, b.mname)
	return []*answer{
		{typ: dns.TypeSOA, n: 1, ttl: soaTTL, tail: soa},
		{typ: dns.TypeNS, n: 1, ttl: nsTTL, tail: ns, refs: []ref{{target: rrHeader, hash: hashOf(b.mname)}}},
	}
}

// rdata appends r's data in wire format to buf, and tells its type and where
// in it a target's name begins (0: it has none).
func (r *Record) rdata(buf []byte) (out []byte, typ uint16, target int, ok bool) {
	var err error
	switch {
	case r.Type == "A" && r.Addr.Is4():
		a := r.Addr.As4()
		return append(buf, a[:]...), dns.TypeA, 0, true
	case r.Type == "AAAA" && r.Addr.Is6() && r.Addr.Zone() == "":
		a := r.Addr.As16()
		return append(buf, a[:]...), dns.TypeAAAA, 0, true
	case r.Type == "PTR":
		out, err = appendName(buf, strings.ToLower(r.Target))
		return out, dns.TypePTR, 0, err == nil
	case r.Type == "SRV":
		// RFC 2782: priority, weight, port, target. Equal members, equal weight.
		out = binary.BigEndian.AppendUint16(append(buf, 0, 0, 0, 1), r.Port)
		out, err = appendName(out, strings.ToLower(r.Target))
		return out, dns.TypeSRV, 6, err == nil
	}
	return buf, 0, 0, false
}

// typeOf is the number of a Record's type; 0 for one that is not served.
func typeOf(name string) uint16 {
	switch name {
	case "A":
		return dns.TypeA
	case "AAAA":
		return dns.TypeAAAA
	case "PTR":
		return dns.TypePTR
	case "SRV":
		return dns.TypeSRV
	}
	return 0
}
