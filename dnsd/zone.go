package dnsd

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"

	"github.com/miekg/dns"
)

// Zone is a whole table, packed. It is immutable but for the turns of sets
// with several members. A Zone made from another one shares with it all that
// did not change.
type Zone struct {
	Records int // served
	Skipped int // that could not be served: names that are none, types unknown

	serial uint32
	base   *base
	names  names
	past   []delta // what led here, oldest first
	since  uint32  // the serial from which past knows everything
}

// base is what a Zone has beside records.
type base struct {
	domain string
	server string // ns.DOMAIN
	mname  []byte // of the SOA, in wire format
	rname  []byte
	apexes map[string]*apex // by lower-case name in wire format; not those that stand alone
	glue   []Record         // the addresses of server
}

// apex is the top of a piece of the name space that is ours.
type apex struct {
	name  string // lower case, wire format
	soa   []byte // the record without its owner
	alone bool   // only the very name is ours, not what is below it
}

// answer is a set of records as it follows the question. All owners are
// compression pointers to the question's name, so that the question fits before
// it as it was asked; and a set begins with another record each time by being
// cut in two.
type answer struct {
	typ  uint16
	n    uint16
	size uint16 // of each record, where all have one and no target; else 0
	ttl  uint32
	turn atomic.Uint32 // which record comes first next time
	tail []byte
	refs []ref // of each record, where size is 0
	sig  atomic.Pointer[signature]
}

// ref is one record of a set.
type ref struct {
	at     uint32 // where it begins
	target uint32 // SRV, NS: where its target's name begins; else 0
	hash   uint64 // of that name
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

// seed makes the hashes of this process others than those of any other.
var seed = maphash.MakeSeed()

func hashOf(name []byte) uint64 { return maphash.Bytes(seed, name) }

// above is the apex that name (lower case, wire format), which does not exist,
// lies below, and where in name that begins. A nil apex means that it is not
// ours.
func (z *Zone) above(name []byte) (*apex, uint8) {
	for off := 0; off < len(name) && name[off] != 0; off += 1 + int(name[off]) {
		if top, ok := z.base.apexes[string(name[off:])]; ok {
			return top, uint8(off)
		}
	}
	return nil, 0
}

// find is the node of name (lower case, wire format), if it exists, and the apex
// that it lies below. A nil apex means that it is not ours.
func (z *Zone) find(name []byte) (*node, *apex) {
	if n := z.names.get(name, hashOf(name)); n != nil {
		return n, n.apex
	}
	top, _ := z.above(name)
	return nil, top
}

// append appends a's records to msg, which holds header and question, and the
// addresses of their targets. It returns how many bytes the answer section
// has, and how many records follow it.
func (z *Zone) append(msg []byte, a *answer) (out []byte, answers int, extra uint16) {
	start, first, cut := len(msg), 0, 0
	if a.n > 1 {
		first = int((a.turn.Add(1) - 1) % uint32(a.n))
		if a.size > 0 {
			cut = first * int(a.size)
		} else {
			cut = int(a.refs[first].at)
		}
	}
	msg = append(msg, a.tail[cut:]...)
	msg = append(msg, a.tail[:cut]...)
	switch a.typ {
	case dns.TypeSRV, dns.TypeNS:
		out, extra = z.appendTargets(msg, a, start, first)
		return out, len(a.tail), extra
	case dns.TypeSOA:
		binary.BigEndian.PutUint32(msg[len(msg)-soaSerialFromEnd:], z.serial)
	}
	return msg, len(a.tail), 0
}

// appendTargets appends the addresses of the targets of a, which begins at
// start with record first.
func (z *Zone) appendTargets(msg []byte, a *answer, start, first int) (out []byte, extra uint16) {
	cut, size := int(a.refs[first].at), len(a.tail)
	var last *node
	for i := range a.refs {
		r := &a.refs[(first+i)%len(a.refs)]
		end := size
		if k := (first+i)%len(a.refs) + 1; k < len(a.refs) {
			end = int(a.refs[k].at)
		}
		target := a.tail[r.target:end]
		n := z.names.get(target, r.hash)
		at := start + int(r.target) - cut
		if int(r.target) < cut {
			at += size
		}
		if n == nil || n == last || at > maxPointer {
			continue
		}
		last = n
		for _, set := range n.sets {
			if set.typ != dns.TypeA && set.typ != dns.TypeAAAA {
				continue
			}
			for off := 0; off < len(set.tail); off += int(set.size) {
				record := len(msg)
				msg = append(msg, set.tail[off:off+int(set.size)]...)
				binary.BigEndian.PutUint16(msg[record:], 0xc000|uint16(at))
				extra++
			}
		}
	}
	return msg, extra
}

// appendSOA appends the SOA of top as it stands in the authority section of a
// negative answer (RFC 2308) to a question of a name in which top's begins at
// off.
func (z *Zone) appendSOA(msg []byte, top *apex, off uint8) []byte {
	msg = binary.BigEndian.AppendUint16(msg, toQuestion+uint16(off))
	msg = append(msg, top.soa...)
	binary.BigEndian.PutUint32(msg[len(msg)-soaSerialFromEnd:], z.serial)
	return msg
}
