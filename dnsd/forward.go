package dnsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Limits of forwarding.
const (
	forwardTimeout = 2 * time.Second // for one resolver's answer
	forwardTries   = 3               // over all resolvers
	maxForwards    = 512             // at once
)

// Forwarder hands queries for foreign names to the host's resolvers, in
// order, the next one when one does not answer. It keeps a small cache.
type Forwarder struct {
	resolvers []netip.AddrPort
	slots     chan struct{} // one per query under way
	cache     *cache
	metrics   *Metrics
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	now       func() time.Time
}

// NewForwarder asks resolvers, which must not include this server itself.
// Without resolvers every forward fails. metrics may be nil.
func NewForwarder(resolvers []netip.AddrPort, metrics *Metrics) *Forwarder {
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	return &Forwarder{
		resolvers: resolvers,
		slots:     make(chan struct{}, maxForwards),
		cache:     newCache(),
		metrics:   metrics,
		dial:      (&net.Dialer{}).DialContext,
		now:       time.Now,
	}
}

// Forward is the reply to query, which Handler.Answer left to it. When no
// resolver helps, or too many queries are under way, that is SERVFAIL.
func (f *Forwarder) Forward(ctx context.Context, query []byte, udp bool) []byte {
	if !f.take() {
		f.metrics.forwards.WithLabelValues("overload").Inc()
		return servfail(query)
	}
	defer f.release()
	return f.forward(ctx, query, udp)
}

// take reserves one of the slots, without waiting.
func (f *Forwarder) take() bool {
	select {
	case f.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (f *Forwarder) release() { <-f.slots }

// forward is Forward within a slot.
func (f *Forwarder) forward(ctx context.Context, query []byte, udp bool) []byte {
	var q question
	if !q.parse(query) {
		var ok bool
		if query, ok = plainQuery(query); !ok || !q.parse(query) {
			f.metrics.forwards.WithLabelValues("odd").Inc()
			return servfail(query)
		}
	}
	if reply := f.cache.get(&q, query, f.now()); reply != nil {
		f.metrics.forwards.WithLabelValues("cached").Inc()
		return q.fit(reply, udp)
	}
	reply, err := f.ask(ctx, &q, query)
	if err != nil {
		f.metrics.forwards.WithLabelValues("failed").Inc()
		return servfail(query)
	}
	f.metrics.forwards.WithLabelValues("answered").Inc()
	f.cache.put(&q, reply, f.now())
	return q.fit(reply, udp)
}

// ask tries the resolvers until one answers properly. A SERVFAIL or REFUSED is
// kept for the case that nobody has anything better.
func (f *Forwarder) ask(ctx context.Context, q *question, query []byte) (reply []byte, err error) {
	var poor []byte
	errs := []error{errors.New("no resolver answered")}
	upstream := q.upstream(query)
	for try := range max(forwardTries, len(f.resolvers)) {
		if len(f.resolvers) == 0 || ctx.Err() != nil {
			break
		}
		resolver := f.resolvers[try%len(f.resolvers)]
		reply, err := f.exchange(ctx, "udp", resolver, q, upstream)
		if err == nil && reply[2]&bitTC != 0 {
			reply, err = f.exchange(ctx, "tcp", resolver, q, upstream)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		copy(reply, query[:2])                          // the client's id
		copy(reply[headerLen:], query[headerLen:q.end]) // and its letters
		reply[2] &^= bitAA
		reply[3] |= bitRA
		if code := reply[3] & maskRcode; code != dns.RcodeServerFailure && code != dns.RcodeRefused {
			return reply, nil
		}
		poor = reply
	}
	if poor != nil {
		return poor, nil
	}
	return nil, errors.Join(errs...)
}

// upstream is what a resolver is asked: the question with an id of its own
// and without the client's EDNS options, which concern the two of us only (RFC
// 6891 section 6.1.1). OPT is passed on only where the client speaks EDNS, so
// that a reply needs no editing.
func (q *question) upstream(query []byte) []byte {
	out := append(make([]byte, 0, q.end+optLen), query[:q.end]...)
	binary.BigEndian.PutUint16(out, uint16(rand.Uint32()))
	out[2] = bitRD
	out[3] = query[3] & bitCD
	out[11] = 0
	if q.edns {
		out = q.appendOPT(out)
		out[11] = 1
	}
	return out
}

// exchange asks one resolver, from a port of its own, and takes only a reply
// with the same id and question (RFC 5452 section 9).
func (f *Forwarder) exchange(ctx context.Context, network string, resolver netip.AddrPort, q *question, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	conn, err := f.dial(ctx, network, resolver.String())
	if err != nil {
		return nil, fmt.Errorf("ask resolver %s: %w", resolver, err)
	}
	defer conn.Close() // nothing is left to be written
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var reply []byte
	if network == "tcp" {
		reply, err = exchangeTCP(conn, q, query)
	} else {
		reply, err = exchangeUDP(conn, q, query)
	}
	if err != nil {
		return nil, fmt.Errorf("ask resolver %s over %s: %w", resolver, network, err)
	}
	return reply, nil
}

func exchangeUDP(conn net.Conn, q *question, query []byte) ([]byte, error) {
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for { // until the deadline: what does not match may be forged
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if q.matches(query, buf[:n]) {
			return buf[:n], nil
		}
	}
}

func exchangeTCP(conn net.Conn, q *question, query []byte) ([]byte, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, err
	}
	if !q.matches(query, reply) {
		return nil, errors.New("the reply belongs to another question")
	}
	return reply, nil
}

// matches tells whether reply answers query.
func (q *question) matches(query, reply []byte) bool {
	return len(reply) >= q.end && reply[2]&bitQR != 0 && string(reply[:2]) == string(query[:2]) &&
		string(reply[4:6]) == "\x00\x01" && string(reply[headerLen:q.end]) == string(query[headerLen:q.end])
}

// fit cuts a reply that is too long for its client down to the question.
func (q *question) fit(reply []byte, udp bool) []byte {
	if !udp || len(reply) <= int(q.size) {
		return reply
	}
	reply = reply[:q.end]
	reply[2] |= bitTC
	clear(reply[6:headerLen])
	if q.edns {
		reply = q.appendOPT(reply)
		reply[11] = 1
	}
	return reply
}

// plainQuery is an unusual query as a plain one; false if it is beyond that.
func plainQuery(query []byte) ([]byte, bool) {
	var msg, plain dns.Msg
	if msg.Unpack(query) != nil || len(msg.Question) != 1 {
		return query, false
	}
	plain.MsgHdr, plain.Question = msg.MsgHdr, msg.Question
	if opt := msg.IsEdns0(); opt != nil {
		plain.SetEdns0(opt.UDPSize(), opt.Do())
	}
	packed, err := plain.Pack()
	return packed, err == nil
}

func servfail(query []byte) []byte {
	reply := failure(nil, query, dns.RcodeServerFailure)
	if len(reply) >= headerLen {
		reply[3] |= bitRA
	}
	return reply
}
