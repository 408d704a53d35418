package dnsd

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// What is said on a network's socket: one JSON object per SOCK_SEQPACKET
// message. The router opens with follow; the daemon sends zone messages, each a
// part of a whole Table, and serial messages when only the log index moved on.
// Types that are not known are passed over, so that both ends may be upgraded
// in any order; V changes only when that would not do.
const (
	feedVersion = 1
	feedLimit   = 32 << 10 // bytes of one message

	typeFollow = "follow" // router: send me your Table and every change of it
	typeZone   = "zone"   // daemon: part Part (from 0) of Of of the Table of generation Gen
	typeSets   = "sets"   // daemon, to a router that takes them: part Part of Of of the sets that changed since the last message
	typeSerial = "serial" // daemon: the Table of generation Gen is that of log index Serial too
	typeError  = "error"  // daemon: Text says why this connection ends
)

// maxParts bounds what a router puts together: about three million records.
const maxParts = 1 << 14

// feedMessage is any of them.
type feedMessage struct {
	V       int             `json:"v"`
	Type    string          `json:"type"`
	Gen     uint64          `json:"gen,omitempty"` // grows by one with each Table of a connection
	Part    int             `json:"part,omitempty"`
	Of      int             `json:"of,omitempty"`
	Serial  uint32          `json:"serial,omitempty"`
	Domain  string          `json:"domain,omitempty"`  // in part 0
	Reverse []netip.Prefix  `json:"reverse,omitempty"` // in part 0
	NS      []netip.Addr    `json:"ns,omitempty"`      // in part 0
	Records json.RawMessage `json:"records,omitempty"` // array of Record
	Sets    json.RawMessage `json:"sets,omitempty"`    // array of Set

	TakesSets bool   `json:"takes_sets,omitempty"` // in follow: sets messages are understood
	Text      string `json:"text,omitempty"`
}

// chunks are the elements of list as JSON arrays that fit into messages; nil if
// one element alone does not.
func chunks[T any](list []T) (out []json.RawMessage, err error) {
	const room = feedLimit - 8<<10 // what part 0 says beside its records fits into the rest
	chunk := []byte{'['}
	for i := range list {
		element, err := json.Marshal(&list[i])
		if err != nil {
			return nil, err
		}
		if len(element) > room-2 {
			return nil, nil
		}
		if len(chunk)+len(element) > room {
			out, chunk = append(out, append(chunk, ']')), []byte{'['}
		}
		if len(chunk) > 1 {
			chunk = append(chunk, ',')
		}
		chunk = append(chunk, element...)
	}
	return append(out, append(chunk, ']')), nil
}

// encodeTable is t as messages below feedLimit.
func encodeTable(t *Table, gen uint64) ([][]byte, error) {
	parts, err := chunks(t.Records)
	if err != nil || parts == nil {
		return nil, fmt.Errorf("encode the zone: a record that is too long or none: %w", err)
	}
	messages := make([][]byte, len(parts))
	for i, records := range parts {
		m := feedMessage{V: feedVersion, Type: typeZone, Gen: gen, Part: i, Of: len(parts), Serial: t.Serial, Records: records}
		if i == 0 {
			m.Domain, m.Reverse, m.NS = t.Domain, t.Reverse, t.NS
		}
		if messages[i], err = m.encode(); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// encodeSets is sets as messages below feedLimit; nil if that cannot be.
func encodeSets(sets []Set, gen uint64, serial uint32) ([][]byte, error) {
	parts, err := chunks(sets)
	if err != nil {
		return nil, fmt.Errorf("encode changed records: %w", err)
	}
	var messages [][]byte
	for i, part := range parts {
		m := feedMessage{V: feedVersion, Type: typeSets, Gen: gen, Part: i, Of: len(parts), Serial: serial, Sets: part}
		data, err := m.encode()
		if err != nil {
			return nil, err
		}
		messages = append(messages, data)
	}
	return messages, nil
}

func (m *feedMessage) encode() ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode the zone: %w", err)
	}
	if len(data) > feedLimit {
		return nil, fmt.Errorf("encode the zone: a message of %d bytes, the limit is %d: too many subnets", len(data), feedLimit)
	}
	return data, nil
}

// assembly puts zone messages together again.
type assembly struct {
	table Table
	gen   uint64
	next  int // part expected
}

// add takes one zone message and tells whether the Table is whole.
func (a *assembly) add(m *feedMessage) (whole bool, err error) {
	if m.Part == 0 {
		*a = assembly{table: Table{Domain: m.Domain, Serial: m.Serial, Reverse: m.Reverse, NS: m.NS}, gen: m.Gen}
	}
	if m.Gen != a.gen || m.Part != a.next || m.Of <= m.Part || m.Of > maxParts {
		return false, fmt.Errorf("zone message %d of %d of generation %d, expected part %d of generation %d", m.Part, m.Of, m.Gen, a.next, a.gen)
	}
	var records []Record
	if len(m.Records) > 0 {
		if err := json.Unmarshal(m.Records, &records); err != nil {
			return false, fmt.Errorf("zone message: %w", err)
		}
	}
	a.table.Records = append(a.table.Records, records...)
	a.next++
	return a.next == m.Of, nil
}

// setParts puts sets messages together again.
type setParts struct {
	sets []Set
	next int // part expected
}

// add takes one sets message and tells whether all are there.
func (p *setParts) add(m *feedMessage) (whole bool, err error) {
	if m.Part == 0 {
		*p = setParts{}
	}
	if m.Part != p.next || m.Of <= m.Part || m.Of > maxParts {
		return false, fmt.Errorf("sets message %d of %d, expected part %d", m.Part, m.Of, p.next)
	}
	var sets []Set
	if err := json.Unmarshal(m.Sets, &sets); err != nil {
		return false, fmt.Errorf("sets message: %w", err)
	}
	p.sets = append(p.sets, sets...)
	p.next++
	return p.next == m.Of, nil
}
