package dnsd

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// slow answers what the hot path does not know: malformed and odd messages,
// other opcodes and classes, ANY, transfers, signatures.
func (h *Handler) slow(zone *Zone, buf, query []byte, udp bool) ([]byte, verdict) {
	var msg dns.Msg
	opcode := int(query[2]&maskOpcode) >> 3
	switch {
	case opcode == dns.OpcodeUpdate:
		return failure(buf, query, dns.RcodeRefused), answered
	case opcode != dns.OpcodeQuery:
		return failure(buf, query, dns.RcodeNotImplemented), answered
	case binary.BigEndian.Uint16(query[4:]) != 1:
		return failure(buf, query, dns.RcodeFormatError), answered
	case msg.Unpack(query) != nil || len(msg.Question) != 1:
		return failure(buf, query, dns.RcodeFormatError), answered
	}
	if msg.Truncated || len(msg.Answer) > 0 {
		return failure(buf, query, dns.RcodeFormatError), answered
	}
	asked := msg.Question[0]
	opt, tsig := msg.IsEdns0(), msg.IsTsig()
	switch {
	case tsig != nil: // RFC 8945 section 5.2: we share no key with anybody
		return h.odd(buf, &msg, dns.RcodeNotAuth), answered
	case opt != nil && badCookie(opt): // RFC 7873 section 5.2.2
		return h.odd(buf, &msg, dns.RcodeFormatError), answered
	case opt != nil && opt.Version() != 0:
		return h.odd(buf, &msg, dns.RcodeBadVers), answered
	case asked.Qclass != dns.ClassINET:
		return h.odd(buf, &msg, dns.RcodeRefused), answered
	case asked.Qtype == dns.TypeAXFR || asked.Qtype == dns.TypeIXFR:
		return h.odd(buf, &msg, dns.RcodeRefused), answered
	case asked.Qtype == dns.TypeANY:
		return h.any(zone, buf, &msg, udp)
	case !plainType(asked.Qtype):
		return h.odd(buf, &msg, dns.RcodeNotImplemented), answered
	}
	return h.again(zone, buf, &msg, udp)
}

// badCookie tells whether opt has a cookie of a length that none can have.
func badCookie(opt *dns.OPT) bool {
	for _, option := range opt.Option {
		if cookie, ok := option.(*dns.EDNS0_COOKIE); ok {
			return !plausibleCookie(len(cookie.Cookie) / 2) // it is in hexadecimal
		}
	}
	return false
}

// odd is a reply without records.
func (h *Handler) odd(buf []byte, query *dns.Msg, rcode int) []byte {
	reply := new(dns.Msg).SetRcode(query, rcode)
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(maxUDP, opt.Do())
	}
	out, err := reply.PackBuffer(buf[:cap(buf)])
	if err != nil {
		return nil
	}
	return out
}

// any gives the minimal answer of RFC 8482 section 4.2: a HINFO record for a
// name that exists.
func (h *Handler) any(zone *Zone, buf []byte, query *dns.Msg, udp bool) ([]byte, verdict) {
	name, err := packName(query.Question[0].Name)
	if err != nil {
		return h.odd(buf, query, dns.RcodeFormatError), answered
	}
	n, top, _ := zone.find(name)
	switch {
	case top == nil:
		return nil, foreign
	case n == nil: // as for any other type
		query.Question[0].Qtype = dns.TypeHINFO
		reply, what := h.again(zone, buf, query, udp)
		if end := headerLen + len(name) + 2; what == answered && len(reply) >= end {
			binary.BigEndian.PutUint16(reply[end-2:], dns.TypeANY)
		}
		return reply, what
	}
	reply := new(dns.Msg).SetReply(query)
	reply.Authoritative = true
	reply.Answer = []dns.RR{&dns.HINFO{
		Hdr: dns.RR_Header{Name: query.Question[0].Name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: soaTTL},
		Cpu: "RFC8482",
	}}
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(maxUDP, opt.Do())
	}
	out, err := reply.PackBuffer(buf[:cap(buf)])
	if err != nil {
		return failure(buf, nil, dns.RcodeServerFailure), answered
	}
	return out, answered
}

// again asks the hot path with a plain form of query: its question, and an
// OPT if it had one.
func (h *Handler) again(zone *Zone, buf []byte, query *dns.Msg, udp bool) ([]byte, verdict) {
	var plain dns.Msg
	plain.MsgHdr = query.MsgHdr
	plain.Question = query.Question
	if opt := query.IsEdns0(); opt != nil {
		plain.SetEdns0(opt.UDPSize(), opt.Do())
	}
	packed, err := plain.Pack()
	var q question
	if err != nil || !q.parse(packed) {
		return h.odd(buf, query, dns.RcodeFormatError), answered
	}
	return q.reply(zone, buf, packed, udp)
}

// packName is name, as miekg/dns prints it, in lower case and wire format.
func packName(name string) ([]byte, error) {
	wire := make([]byte, maxName+1)
	n, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		return nil, err
	}
	for i, c := range wire[:n] {
		wire[i] = lower[c] // length bytes are below 'A'
	}
	return wire[:n], nil
}
