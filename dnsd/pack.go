package dnsd

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Times of the SOA, seconds. Nobody transfers the zone; what counts is how
// long a resolver may remember that a name is not there: as short as that a
// service is healthy.
const (
	soaTTL     = 5
	soaRefresh = 60
	soaRetry   = 30
	soaExpire  = 86400
	nsTTL      = 60
	// maxOrders bounds how many orders of one SRV set are packed.
	maxOrders = 16
	// maxPointer is how far a compression pointer reaches (RFC 1035 section 4.1.4).
	maxPointer = 0x3fff
)

// NewZone packs t. What cannot be served is counted, and does not keep the
// rest from being served.
func NewZone(t *Table) *Zone {
	b := newZoneBuilder(t)
	b.addApex(t.Domain, false)
	for _, prefix := range t.Reverse {
		for _, name := range reverseZones(prefix) {
			b.addApex(name, false)
		}
	}
	for i := range t.Records {
		b.addRecord(&t.Records[i])
	}
	for _, addr := range t.NS {
		r := Record{Name: b.server, Type: "A", TTL: nsTTL, Addr: addr.Unmap()}
		if r.Addr.Is6() {
			r.Type = "AAAA"
		}
		b.addRecord(&r)
	}
	for key, set := range b.sets {
		slices.SortFunc(set.data, func(x, y rdata) int { return cmp.Compare(string(x.wire), string(y.wire)) })
		b.zone.answers[key] = b.pack(set, len(key)-2)
	}
	return b.zone
}

// zoneBuilder collects records by name and type.
type zoneBuilder struct {
	zone   *Zone
	sets   map[string]*rrset // by wire name, then type
	server string            // ns.DOMAIN
	mname  []byte            // of the SOA, in wire format
	rname  []byte
	wire   []byte // scratch
}

// rrset is all records of one name and type.
type rrset struct {
	typ  uint16
	ttl  uint32
	data []rdata
}

type rdata struct {
	wire   []byte
	target []byte // SRV, NS: the name at its end, whose addresses go along
}

func newZoneBuilder(t *Table) *zoneBuilder {
	b := &zoneBuilder{
		zone: &Zone{
			serial:  t.Serial,
			answers: make(map[string]*answer, len(t.Records)+16),
			names:   make(map[string]place, len(t.Records)+16),
			apexes:  map[string]*apex{},
		},
		sets:   make(map[string]*rrset, len(t.Records)+16),
		server: "ns." + t.Domain,
	}
	var errM, errR error
	b.mname, errM = appendName(nil, b.server)
	b.rname, errR = appendName(nil, "hostmaster."+t.Domain)
	if errM != nil || errR != nil { // no domain yet: a zone that knows nothing
		b.mname, b.rname = []byte{0}, []byte{0}
	}
	return b
}

// addApex makes name ours, and with it all below it unless it stands alone.
func (b *zoneBuilder) addApex(name string, alone bool) {
	wire, err := appendName(nil, name)
	if err != nil {
		return
	}
	key := string(wire)
	if _, ok := b.zone.apexes[key]; ok {
		return
	}
	numbers := binary.BigEndian.AppendUint32(nil, b.zone.serial)
	for _, seconds := range []uint32{soaRefresh, soaRetry, soaExpire, soaTTL} {
		numbers = binary.BigEndian.AppendUint32(numbers, seconds)
	}
	record := appendRR(nil, toQuestion, dns.TypeSOA, soaTTL, b.mname, b.rname, numbers)
	top := &apex{soa: record[2:], alone: alone}
	b.zone.apexes[key] = top
	b.zone.names[key] = place{top, 0}
	b.zone.answers[key+typeKey(dns.TypeSOA)] = &answer{orders: []order{{record, len(record)}}, an: 1, soa: true}
	b.sets[key+typeKey(dns.TypeNS)] = &rrset{typ: dns.TypeNS, ttl: nsTTL, data: []rdata{{b.mname, b.mname}}}
}

// addRecord puts r into its set, and its name and those above it, up to the
// apex, among those that exist. A name that is not below any apex is one of its
// own: a fully qualified hostname is served as given, its surroundings are not.
func (b *zoneBuilder) addRecord(r *Record) {
	typ, data, ok := encode(r)
	name := strings.ToLower(r.Name)
	var err error
	b.wire, err = appendName(b.wire[:0], name)
	if !ok || err != nil {
		b.zone.Skipped++
		return
	}
	at, exists := b.zone.find(b.wire)
	switch {
	case at.apex == nil:
		b.addApex(name, true)
	case !exists:
		b.addName(b.wire, at)
	}
	key := string(append(b.wire, byte(typ>>8), byte(typ)))
	set := b.sets[key]
	if set == nil {
		set = &rrset{typ: typ, ttl: r.TTL}
		b.sets[key] = set
	}
	set.ttl = min(set.ttl, r.TTL) // RFC 2181 section 5.2: one TTL per set
	for _, have := range set.data {
		if bytes.Equal(have.wire, data.wire) {
			return
		}
	}
	set.data = append(set.data, data)
	b.zone.Records++
}

// addName makes name exist, and those between it and its apex (RFC 4592
// section 2.2.2: empty non-terminals).
func (b *zoneBuilder) addName(name []byte, at place) {
	for off := 0; off < int(at.off); off += 1 + int(name[off]) {
		if _, ok := b.zone.names[string(name[off:])]; ok {
			return // and so do all above it
		}
		b.zone.names[string(name[off:])] = place{at.apex, at.off - uint8(off)}
	}
}

// encode is r's type and data in wire format.
func encode(r *Record) (typ uint16, data rdata, ok bool) {
	var err error
	switch {
	case r.Type == "A" && r.Addr.Is4():
		return dns.TypeA, rdata{wire: r.Addr.AsSlice()}, true
	case r.Type == "AAAA" && r.Addr.Is6() && r.Addr.Zone() == "":
		return dns.TypeAAAA, rdata{wire: r.Addr.AsSlice()}, true
	case r.Type == "PTR":
		data.wire, err = appendName(nil, r.Target)
		return dns.TypePTR, data, err == nil
	case r.Type == "SRV":
		// RFC 2782: priority, weight, port, target. Equal members, equal weight.
		data.wire = binary.BigEndian.AppendUint16([]byte{0, 0, 0, 1}, r.Port)
		data.wire, err = appendName(data.wire, r.Target)
		data.target = bytes.ToLower(data.wire[6:])
		return dns.TypeSRV, data, err == nil
	}
	return 0, data, false
}

// pack turns set into the bytes that follow a question of nameLen bytes.
func (b *zoneBuilder) pack(set *rrset, nameLen int) *answer {
	n := len(set.data)
	a := &answer{an: uint16(n)}
	turns := 1
	switch {
	case n == 1:
	case set.typ == dns.TypeA || set.typ == dns.TypeAAAA:
		a.rr = rrHeader + len(set.data[0].wire)
	default:
		turns = min(n, maxOrders)
	}
	start := headerLen + nameLen + 4
	for turn := range turns {
		first := turn * n / turns
		o, ar := b.packOrder(set, start, first)
		a.orders, a.ar = append(a.orders, o), ar
	}
	return a
}

// packOrder packs set beginning with record number first, and the addresses
// of its targets, for a message in which the answers begin at start.
func (b *zoneBuilder) packOrder(set *rrset, start, first int) (o order, ar uint16) {
	for i := range set.data {
		data := set.data[(first+i)%len(set.data)]
		o.tail = appendRR(o.tail, toQuestion, set.typ, set.ttl, data.wire)
	}
	o.extra = len(o.tail)
	end := 0
	for i := range set.data {
		data := set.data[(first+i)%len(set.data)]
		end += rrHeader + len(data.wire)
		at := start + end - len(data.target)
		if data.target == nil || at > maxPointer {
			continue
		}
		for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
			glue := b.sets[string(data.target)+typeKey(typ)]
			if glue == nil {
				continue
			}
			for _, addr := range glue.data {
				o.tail = appendRR(o.tail, 0xc000|uint16(at), typ, glue.ttl, addr.wire)
				ar++
			}
		}
	}
	return o, ar
}

func typeKey(t uint16) string { return string([]byte{byte(t >> 8), byte(t)}) }
