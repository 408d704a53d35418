package dnsd

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// edit makes a Zone, out of nothing or of another one. What it made it may
// change; what it found is copied first. It is over when its Zone is published.
type edit struct {
	zone    *Zone
	chunk   int  // how many of a kind are allocated together
	log     bool // whether changes are to be remembered
	changes []change

	nodes   []node // allocated, not yet used: 20,000 names are not 100,000 allocations
	answers []answer
	lists   []*answer
	refs    []ref
	bytes   []byte

	wire  []byte   // scratch: a name
	data  []byte   // scratch: records
	parts [][]byte // scratch: the records in data
}

func take[T any](pool *[]T, n, chunk int) []T {
	if len(*pool) < n {
		*pool = make([]T, max(n, chunk))
	}
	out := (*pool)[:n:n]
	*pool = (*pool)[n:]
	return out
}

func (e *edit) newNode() *node { return &take(&e.nodes, 1, e.chunk)[0] }

// addApex makes name ours, and with it all below it.
func (e *edit) addApex(name string) {
	wire, err := appendName(nil, strings.ToLower(name))
	if err != nil {
		return
	}
	if _, ok := e.zone.base.apexes[string(wire)]; ok {
		return
	}
	top := e.zone.base.newApex(wire, false)
	e.zone.base.apexes[top.name] = top
	n := e.add(wire, hashOf(wire))
	n.apex, n.sets = top, e.zone.base.apexSets(top)
}

// put makes records the set of name and typ, or adds them to it.
func (e *edit) put(name, typ string, records []Record, more bool) {
	code := typeOf(typ)
	var err error
	e.wire, err = appendName(e.wire[:0], name)
	if err != nil || code == 0 {
		e.zone.Skipped += len(records)
		return
	}
	for i, c := range e.wire {
		e.wire[i] = lower[c] // length bytes are below 'A'
	}
	e.grow()
	hash := hashOf(e.wire)
	n := e.zone.names.get(e.wire, hash)
	var old *answer
	if n != nil {
		old = n.answer(code)
	}
	e.data, e.parts = e.data[:0], e.parts[:0]
	ttl := e.collect(code, records)
	if more && old != nil {
		e.data = append(e.data, old.tail...)
		ttl = min(ttl, old.ttl)
	}
	if !more && name == e.zone.base.server { // its own addresses are not the State's
		ttl = min(ttl, e.collect(code, e.zone.base.glue))
	}
	e.replace(n, hash, old, e.pack(code, ttl))
}

// collect appends those of records that have typ to e.data, and returns their
// shortest TTL (RFC 2181 section 5.2: one TTL per set).
func (e *edit) collect(typ uint16, records []Record) (ttl uint32) {
	ttl = 1<<31 - 1
	for i := range records {
		r := &records[i]
		at := len(e.data)
		e.data = append(e.data, toQuestion>>8, toQuestion&0xff, byte(typ>>8), byte(typ), 0, dns.ClassINET, 0, 0, 0, 0, 0, 0)
		out, code, _, ok := r.rdata(e.data)
		if !ok || code != typ {
			e.data = e.data[:at]
			if r.Type != "" && typeOf(r.Type) == typ {
				e.zone.Skipped++
			}
			continue
		}
		e.data = out
		binary.BigEndian.PutUint16(e.data[at+rrHeader-2:], uint16(len(e.data)-at-rrHeader))
		ttl = min(ttl, r.TTL)
	}
	return ttl
}

// pack makes a set of the records in e.data: each once, in the order of their
// data. It is nil if there are none.
func (e *edit) pack(typ uint16, ttl uint32) *answer {
	if len(e.data) == 0 {
		return nil
	}
	for at := 0; at < len(e.data); {
		end := at + rrHeader + int(binary.BigEndian.Uint16(e.data[at+rrHeader-2:]))
		e.parts = append(e.parts, e.data[at:end])
		at = end
	}
	if len(e.parts) > 1 {
		slices.SortFunc(e.parts, func(a, b []byte) int { return bytes.Compare(a[rrHeader:], b[rrHeader:]) })
		e.parts = slices.CompactFunc(e.parts, func(a, b []byte) bool { return bytes.Equal(a[rrHeader:], b[rrHeader:]) })
	}
	n := min(len(e.parts), 1<<16-1)
	size := 0
	for _, part := range e.parts[:n] {
		size += len(part)
	}
	a := &take(&e.answers, 1, e.chunk)[0]
	a.typ, a.n, a.ttl = typ, uint16(n), ttl
	a.tail = take(&e.bytes, size, 48*e.chunk)[:0]
	if typ == dns.TypeA || typ == dns.TypeAAAA {
		a.size = uint16(len(e.parts[0]))
	} else {
		a.refs = take(&e.refs, n, e.chunk)
	}
	for i, part := range e.parts[:n] {
		at := len(a.tail)
		a.tail = append(a.tail, part...)
		binary.BigEndian.PutUint32(a.tail[at+6:], ttl)
		if a.refs != nil {
			a.refs[i] = ref{at: uint32(at)}
		}
		if typ == dns.TypeSRV {
			a.refs[i].target, a.refs[i].hash = uint32(at+rrHeader+6), hashOf(part[rrHeader+6:])
		}
	}
	return a
}

// replace puts set in the place of old in the node of the name in e.wire,
// which n is, if it exists.
func (e *edit) replace(n *node, hash uint64, old, set *answer) {
	if old == nil && set == nil || old != nil && set != nil && bytes.Equal(old.tail, set.tail) {
		return
	}
	if n == nil {
		n = e.addName(hash)
	} else {
		n = e.own(e.wire, hash)
	}
	sets := take(&e.lists, len(n.sets)+1, 2*e.chunk)[:0]
	for _, a := range n.sets {
		if a != old {
			sets = append(sets, a)
		}
	}
	if set != nil {
		sets = append(sets, set)
		e.zone.Records += int(set.n)
	}
	if old != nil {
		e.zone.Records -= int(old.n)
	}
	n.sets = sets
	if e.log {
		e.changes = append(e.changes, change{n.name, n.apex, old, set})
	}
	if n.apex.alone && len(sets) == 2 { // SOA and NS: what it was ours for is gone
		e.remove(n)
		return
	}
	e.prune(n)
}

// addName makes the name in e.wire exist, and those between it and its apex
// (RFC 4592 section 2.2.2: empty non-terminals). A name that is not below any
// apex is one of its own: a fully qualified hostname is served as given, its
// surroundings are not.
func (e *edit) addName(hash uint64) *node {
	top, off := e.zone.above(e.wire)
	n := e.add(e.wire, hash)
	if top == nil {
		n.apex = e.zone.base.newApex(e.wire, true)
		n.sets = e.zone.base.apexSets(n.apex)
		return n
	}
	n.apex, n.off = top, off
	for at := 0; at < int(off); {
		at += 1 + int(e.wire[at])
		name := e.wire[at:]
		hash := hashOf(name)
		if up := e.own(name, hash); up != nil {
			up.below++
			break
		}
		up := e.add(name, hash)
		up.apex, up.off, up.below = top, off-uint8(at), 1
	}
	return n
}

// prune takes n away if nothing keeps it, and then those above it.
func (e *edit) prune(n *node) {
	for len(n.sets) == 0 && n.below == 0 && n.off > 0 {
		e.remove(n)
		name := []byte(n.name[1+int(n.name[0]):])
		if n = e.own(name, hashOf(name)); n == nil {
			return
		}
		n.below--
	}
}
