package dnsd

import (
	"encoding/binary"
	"sync/atomic"
)

// Zone is a whole table, packed. It is immutable but for the turns of sets
// with several members.
type Zone struct {
	Records int // served
	Skipped int // that cannot be served: names that are none, types unknown

	serial  uint32
	answers map[string]*answer // by lower-case name in wire format, then type
	names   map[string]place   // by lower-case name in wire format: all that exist, also those in between
	apexes  map[string]*apex   // where our authority begins
}

// answer is a set of records as it follows the question.
type answer struct {
	orders []order // SRV: the set in several orders
	rr     int     // size of each record, if the set is to be rotated as bytes; else 0
	an, ar uint16
	soa    bool          // it ends with an SOA, whose serial is to be set
	turn   atomic.Uint32 // which order, or which record, comes first next time
}

// order is one packed form of a set. All owners in the answer section are
// compression pointers, so that the query's question fits before it as it is.
type order struct {
	tail  []byte
	extra int // where the additional section begins
}

// place is where a name lies: below which apex, which begins off bytes into
// the name.
type place struct {
	apex *apex
	off  uint8
}

// apex is the top of a piece of the name space that is ours.
type apex struct {
	soa   []byte // the record without its owner
	alone bool   // only the very name is ours, not what is below it
}

// soaSerialFromEnd is where the serial lies in an SOA record: before it come
// names, after it four more numbers (RFC 1035 section 3.3.13).
const soaSerialFromEnd = 20

// WithSerial is z under another serial; all else is shared.
func (z *Zone) WithSerial(serial uint32) *Zone {
	next := *z
	next.serial = serial
	return &next
}

// Serial is the SOA's: the log index, modulo 2^32.
func (z *Zone) Serial() uint32 { return z.serial }

// find tells where name (lower case, wire format) lies, and whether it exists.
// A nil apex means that it is not ours.
func (z *Zone) find(name []byte) (at place, exists bool) {
	if at, ok := z.names[string(name)]; ok {
		return at, true
	}
	for off := 0; off < len(name) && name[off] != 0; off += 1 + int(name[off]) {
		if top, ok := z.apexes[string(name[off:])]; ok && !top.alone {
			return place{top, uint8(off)}, false
		}
	}
	return place{}, false
}

// append appends a's records to msg, which holds header and question, and
// returns how many bytes the answer section has.
func (a *answer) append(msg []byte) (out []byte, answers int) {
	switch {
	case a.rr > 0:
		tail := a.orders[0].tail
		first := int((a.turn.Add(1)-1)%uint32(a.an)) * a.rr
		msg = append(msg, tail[first:]...)
		return append(msg, tail[:first]...), len(tail)
	case len(a.orders) > 1:
		o := &a.orders[(a.turn.Add(1)-1)%uint32(len(a.orders))]
		return append(msg, o.tail...), o.extra
	}
	o := &a.orders[0]
	return append(msg, o.tail...), o.extra
}

// appendSOA appends the SOA of at as it stands in the authority section of a
// negative answer (RFC 2308) to a question of the name that at belongs to.
func (z *Zone) appendSOA(msg []byte, at place) []byte {
	msg = binary.BigEndian.AppendUint16(msg, toQuestion+uint16(at.off))
	msg = append(msg, at.apex.soa...)
	binary.BigEndian.PutUint32(msg[len(msg)-soaSerialFromEnd:], z.serial)
	return msg
}
