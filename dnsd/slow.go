package dnsd

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// slow answers what the hot path does not know: malformed and odd messages,
// other opcodes and classes, ANY, transfers that do not come by TCP, signatures.
// key is the name of that which the query was signed with, empty if it was not,
// and now is in Unix seconds.
func (h *Handler) slow(zone *Zone, buf, query []byte, source netip.Addr, key string, udp bool, now int64) ([]byte, verdict) {
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
	case tsig != nil:
		return h.signed(zone, buf, query, &msg, source, udp, now)
	case opt != nil && badCookie(opt): // RFC 7873 section 5.2.2
		return h.odd(buf, &msg, dns.RcodeFormatError), answered
	case opt != nil && opt.Version() != 0:
		return h.odd(buf, &msg, dns.RcodeBadVers), answered
	case asked.Qclass != dns.ClassINET:
		return h.odd(buf, &msg, dns.RcodeRefused), answered
	case asked.Qtype == dns.TypeIXFR && h.allowed(source, key):
		// RFC 1995 section 2: the SOA alone sends a client that is not up to date to TCP.
		msg.Question[0].Qtype, msg.Ns = dns.TypeSOA, nil
		reply, what := h.again(zone, buf, &msg, udp)
		return renamed(reply, &msg, dns.TypeIXFR), what
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
	n, top := zone.find(name)
	switch {
	case top == nil:
		return nil, foreign
	case n == nil: // as for any other type
		query.Question[0].Qtype = dns.TypeHINFO
		reply, what := h.again(zone, buf, query, udp)
		return renamed(reply, query, dns.TypeANY), what
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

// renamed puts typ into the question of reply, which again made of query.
func renamed(reply []byte, query *dns.Msg, typ uint16) []byte {
	if name, err := packName(query.Question[0].Name); err == nil && len(reply) >= headerLen+len(name)+4 {
		binary.BigEndian.PutUint16(reply[headerLen+len(name):], typ)
	}
	return reply
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
