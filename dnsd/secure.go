package dnsd

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// secure answers q from zone with signatures, which reply does not know.
func (h *Handler) secure(zone *Zone, query []byte, q *question, udp bool, now int64) ([]byte, verdict) {
	wire := q.key[:q.name]
	n, top := zone.find(wire)
	if top == nil {
		return nil, foreign
	}
	var asked, reply dns.Msg
	if asked.Unpack(query) != nil {
		return failure(nil, query, dns.RcodeFormatError), answered
	}
	reply.SetReply(&asked)
	reply.Authoritative, reply.Compress, reply.CheckingDisabled = true, true, asked.CheckingDisabled
	owner, apexName := nameOf(string(wire)), nameOf(top.name)
	var set *answer
	if n != nil {
		set = n.answer(q.typ)
	}
	var err error
	switch {
	case q.typ == dns.TypeDNSKEY && n != nil && n.off == 0:
		err = h.signer.append(&reply.Answer, h.signer.dnskey(apexName), apexName, now, q.do)
	case set != nil && q.typ == dns.TypeSOA:
		err = h.signer.append(&reply.Answer, zone.soa(n, zone.serial), apexName, now, q.do)
	case set != nil:
		rrs := recordsOf(n.name, set)
		var sig dns.RR
		if sig, err = h.signer.set(set, rrs, apexName, now); err == nil {
			first := int((set.turn.Add(1) - 1) % uint32(len(rrs)))
			reply.Answer = append(slices.Concat(rrs[first:], rrs[:first]), sig)
		}
	default:
		err = h.deny(&reply, zone, n, top, owner, now)
	}
	if err != nil {
		return failure(nil, query, dns.RcodeServerFailure), answered
	}
	for _, rr := range reply.Answer { // as it was asked
		rr.Header().Name = asked.Question[0].Name
	}
	return q.seal(&reply, udp), answered
}

// append appends rr, a set of one record, and what signs it, to section.
func (s *Signer) append(section *[]dns.RR, rr dns.RR, zone string, now int64, do bool) error {
	if !do {
		*section = append(*section, rr)
		return nil
	}
	sig, err := s.proof(rr, zone, now)
	*section = append(*section, rr, sig)
	return err
}

// deny proves that owner has no records of the type that was asked, by an NSEC
// record made for it (RFC 9824): for a name that does not exist as well, for
// which reason the answer to that says NOERROR.
func (h *Handler) deny(reply *dns.Msg, zone *Zone, n *node, top *apex, owner string, now int64) error {
	apexName := nameOf(top.name)
	at := zone.names.get([]byte(top.name), hashOf([]byte(top.name)))
	types := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
	if n == nil {
		types = append(types, typeNXNAME)
	} else {
		types = typesOf(n)
	}
	nsec := &dns.NSEC{
		Hdr:        dns.RR_Header{Name: owner, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: soaTTL},
		NextDomain: `\000.` + owner, TypeBitMap: types,
	}
	return errors.Join(
		h.signer.append(&reply.Ns, zone.soa(at, zone.serial), apexName, now, true),
		h.signer.append(&reply.Ns, nsec, apexName, now, true))
}

// typeNXNAME marks a name that does not exist: RFC 9824 section 2.
const typeNXNAME = 128

// typesOf are the types that an NSEC record of n tells of, in order.
func typesOf(n *node) []uint16 {
	types := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
	for _, a := range n.sets {
		types = append(types, a.typ)
	}
	if n.off == 0 {
		types = append(types, dns.TypeDNSKEY)
	}
	slices.Sort(types)
	return types
}

// seal packs reply for q, cut down to its question if it is too long.
func (q *question) seal(reply *dns.Msg, udp bool) []byte {
	limit := maxTCP
	if udp {
		limit = int(q.size)
	}
	packed, err := reply.Pack()
	if err == nil && len(packed) > limit-q.optSize() {
		cut := dns.Msg{MsgHdr: reply.MsgHdr, Question: reply.Question}
		cut.Truncated = true
		packed, err = cut.Pack()
	}
	if err != nil {
		return nil
	}
	if q.edns {
		packed = q.appendOPT(packed)
		binary.BigEndian.PutUint16(packed[10:], binary.BigEndian.Uint16(packed[10:])+1)
	}
	return packed
}

// everythingSigned is the zone at top as everything gives it, with its key,
// signatures, and a chain of NSEC records (RFC 4034 section 4).
func (s *Signer) everythingSigned(z *Zone, top *node, now int64) ([]dns.RR, error) {
	zone := nameOf(top.name)
	type owner struct {
		name string
		n    *node
	}
	var owners []owner
	z.names.all(func(n *node) {
		if n.apex == top.apex && len(n.sets) > 0 {
			owners = append(owners, owner{nameOf(n.name), n})
		}
	})
	slices.SortFunc(owners, func(a, b owner) int { return canonicalOrder(a.n.name, b.n.name) })
	soa := z.soa(top, z.serial)
	rrs := []dns.RR{soa}
	var errs []error
	for i, o := range owners {
		for _, a := range o.n.sets {
			if a.typ == dns.TypeSOA {
				sig, err := s.proof(soa, zone, now)
				rrs, errs = append(rrs, sig), append(errs, err)
				continue
			}
			set := recordsOf(o.n.name, a)
			sig, err := s.set(a, set, zone, now)
			rrs, errs = append(append(rrs, set...), sig), append(errs, err)
		}
		next := owners[(i+1)%len(owners)].name
		nsec := &dns.NSEC{Hdr: dns.RR_Header{Name: o.name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: soaTTL}, NextDomain: next, TypeBitMap: typesOf(o.n)}
		sig, err := s.over([]dns.RR{nsec}, zone, now)
		if err != nil {
			return nil, err
		}
		rrs = append(rrs, nsec, sig.rrsig)
	}
	errs = append(errs, s.append(&rrs, s.dnskey(zone), zone, now, true))
	return append(rrs, soa), errors.Join(errs...)
}

// canonicalOrder compares names in lower-case wire format as RFC 4034 section
// 6.1 says: label by label, from the right.
func canonicalOrder(a, b string) int {
	la, lb := labels(a), labels(b)
	for i := 1; i <= min(len(la), len(lb)); i++ {
		if c := strings.Compare(la[len(la)-i], lb[len(lb)-i]); c != 0 {
			return c
		}
	}
	return len(la) - len(lb)
}

func labels(wire string) (out []string) {
	for len(wire) > 1 {
		n := int(wire[0])
		out = append(out, wire[1:1+n])
		wire = wire[1+n:]
	}
	return out
}
