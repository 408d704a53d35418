package dnsd

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Bits of the third and fourth byte of a header, RFC 1035 section 4.1.1.
const (
	bitQR = 0x80
	bitAA = 0x04
	bitTC = 0x02
	bitRD = 0x01

	bitRA = 0x80
	bitCD = 0x10

	maskOpcode = 0x78
	maskRcode  = 0x0f
)

// Handler answers queries from a Zone. It may be used from many goroutines.
type Handler struct {
	zone    atomic.Pointer[Zone]
	recurse func(netip.Addr) bool
	metrics *Metrics
	cookies cookies
	limits  limiter

	signer    *Signer // nil: nothing is signed
	peers     []Peer
	keys      map[string]Key // by Key.Name
	transfers chan struct{}  // one per transfer under way

	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed by the next SetZone
}

// NewHandler answers SERVFAIL until SetZone: a router that has no zone yet
// must not have the cluster's names looked up elsewhere. recurse tells whose
// queries for foreign names may be forwarded (nil: nobody's). metrics may be
// nil.
func NewHandler(recurse func(netip.Addr) bool, metrics *Metrics) *Handler {
	if recurse == nil {
		recurse = func(netip.Addr) bool { return false }
	}
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	return &Handler{recurse: recurse, metrics: metrics, cookies: newCookies(), transfers: make(chan struct{}, maxTransfers), changed: make(chan struct{})}
}

// SetZone makes z what is answered from, for all queries from now on.
func (h *Handler) SetZone(z *Zone) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.zone.Store(z)
	h.metrics.zone(z)
	close(h.changed)
	h.changed = make(chan struct{})
}

// Changes returns a channel that the next SetZone closes.
func (h *Handler) Changes() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// Zone is what is answered from now, nil before SetZone.
func (h *Handler) Zone() *Zone { return h.zone.Load() }

// Answer makes the reply to query in buf, which is overwritten and grows where
// its capacity does not suffice. It never blocks. No bytes and forward unset
// mean that the packet deserves no reply (it is too short, a reply itself, or one
// too many). forward set means that the name is not ours and from may have it resolved.
func (h *Handler) Answer(buf, query []byte, from netip.AddrPort, udp bool) (reply []byte, forward bool) {
	w := worker{shard: h.metrics.shard(0), now: uint32(time.Now().Unix())}
	return h.answer(buf, query, from, udp, &w)
}

// worker is what one goroutine that answers has of its own.
type worker struct {
	shard *shard
	now   uint32 // Unix seconds
}

// verdict is what becomes of a query.
type verdict uint8

const (
	answered verdict = iota
	unusual          // the hot path leaves it to slow
	foreign          // not a name of ours
	sealed           // answered and signed: not to be changed any more
)

// answer is Answer for w. A query that makes us panic is a bug of ours, but must
// not be a way to stop the service.
func (h *Handler) answer(buf, query []byte, from netip.AddrPort, udp bool, w *worker) (reply []byte, forward bool) {
	defer func() {
		if recover() != nil {
			w.shard.panics.Add(1)
			reply, forward = failure(buf, query, dns.RcodeServerFailure), false
		}
	}()
	if len(query) < headerLen || query[2]&bitQR != 0 {
		w.shard.dropped.Add(1)
		return nil, false
	}
	var q question
	parsed := q.parse(query)
	source := from.Addr().Unmap()
	own := h.recurse(source)
	if parsed && q.cookie != nil {
		q.proven = h.cookies.valid(q.cookie, source, w.now)
		h.cookies.server(q.server[:0], q.cookie, source, w.now)
	}
	if udp {
		if what := h.limits.allow(source, own, q.proven, w.now); what != whole {
			return h.limited(buf, query, what, w), false
		}
	}
	zone := h.zone.Load()
	if zone == nil {
		reply = failure(buf, query, dns.RcodeServerFailure)
		w.shard.count(dns.TypeNone, reply)
		return reply, false
	}
	what := unusual
	switch {
	case !parsed || !plainType(q.typ):
	case h.signer != nil && (q.do || q.typ == dns.TypeDNSKEY):
		reply, what = h.secure(zone, query, &q, udp, int64(w.now))
	default:
		reply, what = q.reply(zone, buf, query, udp)
	}
	if what == unusual {
		reply, what = h.slow(zone, buf, query, source, "", udp, int64(w.now))
		if what != sealed {
			reply = q.addCookie(reply)
		}
	}
	if what == foreign {
		if own && query[2]&bitRD != 0 {
			return nil, true
		}
		reply = q.addCookie(failure(buf, query, dns.RcodeRefused))
	}
	if len(reply) >= headerLen {
		if own && what != sealed && reply[2]&bitRD != 0 {
			reply[3] |= bitRA
		}
		w.shard.count(q.typ, reply)
	}
	return reply, false
}

// limited is the reply to a query that is one too many.
func (h *Handler) limited(buf, query []byte, what allowance, w *worker) []byte {
	w.shard.limited.Add(1)
	if what != slip {
		return nil
	}
	reply := failure(buf, query, dns.RcodeSuccess)
	reply[2] |= bitTC
	return reply
}

// reply makes the answer to query, which q took apart, in buf.
func (q *question) reply(zone *Zone, buf, query []byte, udp bool) ([]byte, verdict) {
	name := q.key[:q.name]
	n := zone.names.get(name, hashOf(name))
	var set *answer
	var top *apex
	var off uint8
	if n != nil {
		set, top, off = n.answer(q.typ), n.apex, n.off
	} else if top, off = zone.above(name); top == nil {
		return nil, foreign
	}
	msg := append(buf[:0], query[:q.end]...)
	msg[2] = bitQR | bitAA | query[2]&bitRD
	msg[3] = query[3] & bitCD
	var an, ns, ar uint16
	answers := 0
	if set != nil {
		msg, answers, ar = zone.append(msg, set)
		an = set.n
	} else { // NODATA or NXDOMAIN, RFC 2308
		msg, ns = zone.appendSOA(msg, top, off), 1
		if n == nil {
			msg[3] |= dns.RcodeNameError
		}
	}
	limit := maxTCP
	if udp {
		limit = int(q.size)
	}
	limit -= q.optSize()
	if len(msg) > limit {
		msg, an = q.shorten(msg, answers, limit, an)
		ar = 0
	}
	if q.edns {
		msg, ar = q.appendOPT(msg), ar+1
	}
	binary.BigEndian.PutUint16(msg[6:], an)
	binary.BigEndian.PutUint16(msg[8:], ns)
	binary.BigEndian.PutUint16(msg[10:], ar)
	return msg, answered
}

// shorten makes msg fit. Additional records may be left out without a word
// (RFC 2181 section 9); if that does not suffice, the records that fit stay
// and TC tells the client to come by TCP.
func (q *question) shorten(msg []byte, answers, limit int, an uint16) (out []byte, fit uint16) {
	end := q.end + answers
	if end <= limit {
		return msg[:end], an
	}
	end, an = q.end, 0
	for {
		next := end + rrHeader + int(binary.BigEndian.Uint16(msg[end+10:]))
		if next > limit {
			break
		}
		end, an = next, an+1
	}
	msg[2] |= bitTC
	return msg[:end], an
}

// failure is a reply of header and, where it can be read, question.
func failure(buf, query []byte, rcode byte) []byte {
	if len(query) < headerLen {
		return nil
	}
	end := headerLen
	var q question
	parsed := q.parse(query)
	if parsed {
		end, q.cookie = q.end, nil // whoever calls adds it
	}
	msg := append(buf[:0], query[:end]...)
	msg[2] = bitQR | query[2]&(maskOpcode|bitRD)
	msg[3] = query[3]&bitCD | rcode&maskRcode
	clear(msg[4:headerLen])
	if parsed {
		msg[5] = 1
		if q.edns {
			msg = q.appendOPT(msg)
			msg[11] = 1
		}
	}
	return msg
}
