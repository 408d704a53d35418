package dnsd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// maxTransfers is how many zones are sent at once, and transferBytes about how
// long one message of a transfer is before compression.
const (
	maxTransfers  = 8
	transferBytes = 24 << 10
)

// isTransfer tells whether query, of any form, asks for AXFR or IXFR.
func isTransfer(query []byte) bool {
	if len(query) < headerLen || query[2]&(bitQR|maskOpcode) != 0 || binary.BigEndian.Uint16(query[4:]) != 1 {
		return false
	}
	at, ok := skipName(query, headerLen)
	if !ok || at+4 > len(query) {
		return false
	}
	typ := binary.BigEndian.Uint16(query[at:])
	return typ == dns.TypeAXFR || typ == dns.TypeIXFR
}

// transfer sends the zone that query asks for, or what changed of it, to source
// by one or more messages: RFC 5936 and RFC 1995. An error means that the
// connection is of no more use.
func (h *Handler) transfer(query []byte, source netip.Addr, send func([]byte) error) error {
	var msg dns.Msg
	if msg.Unpack(query) != nil || len(msg.Question) != 1 {
		return send(failure(nil, query, dns.RcodeFormatError))
	}
	out := outbound{query: &msg, send: send, now: time.Now().Unix()}
	key := ""
	if tsig := msg.IsTsig(); tsig != nil {
		s, code := h.verify(query, tsig)
		if code != 0 {
			h.metrics.transfers.WithLabelValues("refused").Inc()
			reply, err := unsigned(&msg, s, code, out.now)
			return errors.Join(err, send(reply))
		}
		out.signer, key = s, s.key.Name
	}
	if !h.allowed(source, key) || msg.Question[0].Qclass != dns.ClassINET {
		h.metrics.transfers.WithLabelValues("refused").Inc()
		return out.refuse(dns.RcodeRefused)
	}
	select {
	case h.transfers <- struct{}{}:
		defer func() { <-h.transfers }()
	default:
		h.metrics.transfers.WithLabelValues("overload").Inc()
		return out.refuse(dns.RcodeServerFailure)
	}
	zone := h.zone.Load()
	if zone == nil {
		return out.refuse(dns.RcodeServerFailure)
	}
	name, err := packName(msg.Question[0].Name)
	if err != nil {
		return out.refuse(dns.RcodeFormatError)
	}
	n, _ := zone.find(name)
	if n == nil || n.off != 0 { // not where a zone begins
		h.metrics.transfers.WithLabelValues("refused").Inc()
		return out.refuse(dns.RcodeNotAuth)
	}
	how, rrs, err := h.outgoing(zone, n, &msg, out.now)
	if err != nil {
		return out.refuse(dns.RcodeServerFailure)
	}
	h.metrics.transfers.WithLabelValues(how).Inc()
	return out.records(rrs)
}

// outgoing is what the transfer that query wants of the zone at n consists of. A
// signed zone is always sent whole: who asks it for a name that is not there gets
// a proof that is made for that name, but a secondary needs the whole chain.
func (h *Handler) outgoing(z *Zone, n *node, query *dns.Msg, now int64) (how string, rrs []dns.RR, err error) {
	serial, incremental := uint32(0), false
	if query.Question[0].Qtype == dns.TypeIXFR && len(query.Ns) == 1 {
		if soa, ok := query.Ns[0].(*dns.SOA); ok {
			serial, incremental = soa.Serial, true
		}
	}
	if incremental && (h.signer == nil || serial == z.serial) {
		if rrs := z.changesSince(n, serial); rrs != nil {
			return "ixfr", rrs, nil
		}
	}
	if h.signer != nil {
		rrs, err = h.signer.everythingSigned(z, n, now)
		return "axfr", rrs, err
	}
	return "axfr", z.everything(n), nil
}

// soa is the SOA of the zone at n under serial.
func (z *Zone) soa(n *node, serial uint32) dns.RR {
	record := recordsOf(n.name, n.answer(dns.TypeSOA))
	soa := record[0].(*dns.SOA)
	soa.Serial = serial
	return soa
}

// everything is the whole zone at top: between two SOAs, RFC 5936 section 2.2.
func (z *Zone) everything(top *node) []dns.RR {
	rrs := []dns.RR{z.soa(top, z.serial)}
	z.names.all(func(n *node) {
		if n.apex != top.apex {
			return
		}
		for _, a := range n.sets {
			if a.typ != dns.TypeSOA {
				rrs = append(rrs, recordsOf(n.name, a)...)
			}
		}
	})
	return append(rrs, z.soa(top, z.serial))
}

// newer compares serials: RFC 1982.
func newer(a, b uint32) bool { return int32(a-b) > 0 }

// changesSince is what changed in the zone at top since serial, in the form of RFC
// 1995 section 4; nil if that is not known any more, or no less than everything.
func (z *Zone) changesSince(top *node, serial uint32) []dns.RR {
	if serial == z.serial {
		return []dns.RR{z.soa(top, serial)}
	}
	if top.apex.alone || newer(serial, z.serial) || newer(z.since, serial) {
		return nil
	}
	rrs := []dns.RR{z.soa(top, z.serial)}
	from := serial
	for i := range z.past {
		d := &z.past[i]
		if !newer(d.to, serial) {
			continue
		}
		var gone, come []dns.RR
		for _, c := range d.changes {
			if c.apex == top.apex {
				less, more := c.difference()
				gone, come = append(gone, less...), append(come, more...)
			}
		}
		if len(gone)+len(come) > 0 {
			rrs = append(append(rrs, z.soa(top, from)), gone...)
			rrs = append(append(rrs, z.soa(top, d.to)), come...)
			from = d.to
		}
	}
	if from != z.serial { // nothing of this zone changed in the last entries
		rrs = append(rrs, z.soa(top, from), z.soa(top, z.serial))
	}
	if len(rrs) > z.names.count {
		return nil
	}
	return append(rrs, z.soa(top, z.serial))
}

// difference is the records that went and those that came.
func (c *change) difference() (gone, come []dns.RR) {
	had := func(a *answer, rr []byte) bool {
		for _, other := range split(a) {
			if bytes.Equal(rr, other) {
				return true
			}
		}
		return false
	}
	for _, rr := range split(c.old) {
		if !had(c.new, rr) {
			gone = append(gone, unpackRR(c.name, rr))
		}
	}
	for _, rr := range split(c.new) {
		if !had(c.old, rr) {
			come = append(come, unpackRR(c.name, rr))
		}
	}
	return gone, come
}

// split is the records of a, each with the pointer that is its owner.
func split(a *answer) (rrs [][]byte) {
	if a == nil {
		return nil
	}
	for at := 0; at < len(a.tail); {
		end := at + rrHeader + int(binary.BigEndian.Uint16(a.tail[at+rrHeader-2:]))
		rrs = append(rrs, a.tail[at:end])
		at = end
	}
	return rrs
}

// recordsOf are the records of a at name, which is in wire format.
func recordsOf(name string, a *answer) (rrs []dns.RR) {
	for _, rr := range split(a) {
		rrs = append(rrs, unpackRR(name, rr))
	}
	return rrs
}

// unpackRR is a record that we packed, with name in place of the pointer.
func unpackRR(name string, wire []byte) dns.RR {
	rr, _, err := dns.UnpackRR(append([]byte(name), wire[2:]...), 0)
	if err != nil {
		panic(fmt.Sprintf("a record of ours at %q does not unpack: %v", name, err)) // NewZone made it
	}
	return rr
}

// outbound is the answer to one transfer.
type outbound struct {
	query  *dns.Msg
	send   func([]byte) error
	signer *signer // nil: not signed
	now    int64
}

func (o *outbound) refuse(rcode int) error {
	return o.message(new(dns.Msg).SetRcode(o.query, rcode))
}

// records sends rrs in as many messages as they need.
func (o *outbound) records(rrs []dns.RR) error {
	first := true
	for len(rrs) > 0 {
		m := new(dns.Msg).SetReply(o.query)
		m.Authoritative, m.Compress = true, true
		if !first { // RFC 5936 section 2.2.1: the question stands in the first message
			m.Question = nil
		}
		size, n := 0, 0
		for n < len(rrs) && size < transferBytes {
			size += dns.Len(rrs[n])
			n++
		}
		m.Answer, rrs, first = rrs[:n], rrs[n:], false
		if err := o.message(m); err != nil {
			return err
		}
	}
	return nil
}

func (o *outbound) message(m *dns.Msg) error {
	var packed []byte
	var err error
	if o.signer != nil {
		packed, err = o.signer.sign(m, o.now)
	} else {
		packed, err = m.Pack()
	}
	if err != nil {
		return fmt.Errorf("pack a zone transfer: %w", err)
	}
	return o.send(packed)
}
