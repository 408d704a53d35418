package raftlog

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

// A record is, big-endian:
//
//	0  CRC-32C of the segment's salt and all that follows, u32
//	4  length of the body, u32
//	8  index, u64
//	16 how many bytes before this record its batch begins, u32
//	20 kind, u8, and three zeros
//	24 body, and zeros up to a multiple of eight
//
// The body of an entry is term u64, time of appending i64 in ns since 1970,
// type u8, length of the extensions u32, extensions, data. Other kinds have none.
const (
	recordHead = 24
	entryHead  = 21
	noTime     = math.MinInt64 // where raft gave no time
)

type kind byte

const (
	kindEntry kind = iota + 1
	kindCut        // the entries from index on are void
	kindDrop       // the entries up to index are forgotten
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// salted is the checksum that all of a segment's records begin with: records
// of another life of the same blocks are none of this segment.
func salted(salt uint64) uint32 {
	return crc32.Checksum(binary.BigEndian.AppendUint64(nil, salt), castagnoli)
}

// padded is the length of a record with so many bytes in its body.
func padded(body int) int { return (recordHead + body + 7) &^ 7 }

func entrySize(l *raft.Log) int { return padded(entryHead + len(l.Extensions) + len(l.Data)) }

// batch is what is written at once.
type batch struct {
	buf  []byte
	seed uint32
}

// begin starts a record; its body is appended to buf, then finish is called.
func (b *batch) begin(k kind, index uint64) (at int) {
	at = len(b.buf)
	b.buf = binary.BigEndian.AppendUint64(b.buf, 0)
	b.buf = binary.BigEndian.AppendUint64(b.buf, index)
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(at))
	b.buf = append(b.buf, byte(k), 0, 0, 0)
	return at
}

func (b *batch) finish(at int) {
	body := len(b.buf) - at - recordHead
	for len(b.buf)%8 != 0 {
		b.buf = append(b.buf, 0)
	}
	binary.BigEndian.PutUint32(b.buf[at+4:], uint32(body))
	binary.BigEndian.PutUint32(b.buf[at:], crc32.Update(b.seed, castagnoli, b.buf[at+4:]))
}

func (b *batch) mark(k kind, index uint64) { b.finish(b.begin(k, index)) }

func (b *batch) entry(l *raft.Log) {
	at := b.begin(kindEntry, l.Index)
	when := int64(noTime)
	if !l.AppendedAt.IsZero() {
		when = l.AppendedAt.UnixNano()
	}
	b.buf = binary.BigEndian.AppendUint64(b.buf, l.Term)
	b.buf = binary.BigEndian.AppendUint64(b.buf, uint64(when))
	b.buf = append(b.buf, byte(l.Type))
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(len(l.Extensions)))
	b.buf = append(b.buf, l.Extensions...)
	b.buf = append(b.buf, l.Data...)
	b.finish(at)
}

// record is one that was read; body is part of what it was read from.
type record struct {
	kind  kind
	index uint64
	back  uint32 // see above, at 16
	size  int    // with its padding
	body  []byte
}

// parse reads the record at the beginning of b. It is total: ok is false for
// whatever is no whole record with the right checksum.
func parse(b []byte, seed uint32) (r record, ok bool) {
	if len(b) < recordHead || b[21]|b[22]|b[23] != 0 {
		return record{}, false
	}
	r = record{kind: kind(b[20]), index: binary.BigEndian.Uint64(b[8:]), back: binary.BigEndian.Uint32(b[16:])}
	body := uint64(binary.BigEndian.Uint32(b[4:]))
	if r.kind < kindEntry || r.kind > kindDrop || (r.kind == kindEntry) != (body >= entryHead) || body > uint64(len(b)-recordHead) {
		return record{}, false
	}
	r.size = padded(int(body))
	if r.size > len(b) || crc32.Update(seed, castagnoli, b[4:r.size]) != binary.BigEndian.Uint32(b) {
		return record{}, false
	}
	r.body = b[recordHead : recordHead+int(body) : recordHead+int(body)]
	return r, r.kind != kindEntry || uint64(binary.BigEndian.Uint32(r.body[17:])) <= body-entryHead
}

// log fills l from the record of an entry; l then holds parts of r.body.
func (r record) log(l *raft.Log) {
	*l = raft.Log{Index: r.index, Term: binary.BigEndian.Uint64(r.body), Type: raft.LogType(r.body[16])}
	if when := int64(binary.BigEndian.Uint64(r.body[8:])); when != noTime {
		l.AppendedAt = time.Unix(0, when)
	}
	rest := r.body[entryHead:]
	if n := binary.BigEndian.Uint32(r.body[17:]); n > 0 {
		l.Extensions, rest = rest[:n:n], rest[n:]
	}
	if len(rest) > 0 {
		l.Data = rest
	}
}
