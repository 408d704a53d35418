package dnsd

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Limits of forwarding.
const (
	forwardTimeout = 2 * time.Second         // for one resolver's answer
	forwardTries   = 3                       // over all resolvers
	maxForwards    = 512                     // at once
	maxOfOne       = 128                     // of those, for one address
	staleAfter     = 1800 * time.Millisecond // RFC 8767 section 5: then a stale answer serves
)

// Forwarder hands queries for foreign names to the host's resolvers, in
// order, the next one when one does not answer. It keeps a cache; what several
// want to know at once is asked once.
type Forwarder struct {
	resolvers []netip.AddrPort
	slots     chan struct{} // one per query under way
	cache     *cache
	metrics   *Metrics
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	now       func() time.Time
	handler   atomic.Pointer[Handler] // whose names no resolver may speak for

	ctx   context.Context //nolint:containedctx // of calls, which outlive the query that began them
	end   context.CancelFunc
	calls sync.WaitGroup

	mu       sync.Mutex
	underway map[string]*call   // guarded by mu; by cacheKey
	sources  map[netip.Addr]int // guarded by mu; how many slots each has
}

// call is one question that resolvers are being asked.
type call struct {
	done  chan struct{}
	reply []byte // as scrub made it, nil if nobody answered; set before done is closed
}

// NewForwarder asks resolvers, which must not include this server itself.
// Without resolvers every forward fails. metrics may be nil.
func NewForwarder(resolvers []netip.AddrPort, metrics *Metrics) *Forwarder {
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	f := &Forwarder{
		resolvers: resolvers,
		slots:     make(chan struct{}, maxForwards),
		cache:     newCache(),
		metrics:   metrics,
		dial:      (&net.Dialer{}).DialContext,
		now:       time.Now,
		underway:  map[string]*call{},
		sources:   map[netip.Addr]int{},
	}
	f.ctx, f.end = context.WithCancel(context.Background())
	return f
}

// close ends what is under way and waits for it.
func (f *Forwarder) close() {
	f.mu.Lock()
	f.end()
	f.mu.Unlock()
	f.calls.Wait()
}

// ours tells whether name is one of the cluster's.
func (f *Forwarder) ours(name string) bool {
	h := f.handler.Load()
	if h == nil || h.Zone() == nil {
		return false
	}
	wire, err := packName(name)
	if err != nil {
		return true // no name at all: not to be passed on
	}
	_, top := h.Zone().find(wire)
	return top != nil
}

// Forward is the reply to query, which Handler.Answer left to it. When no
// resolver helps, or too many queries are under way, that is SERVFAIL.
func (f *Forwarder) Forward(ctx context.Context, query []byte, udp bool) []byte {
	self := netip.IPv6Loopback()
	if !f.take(self) {
		return f.overload(query)
	}
	defer f.release(self)
	return f.forward(ctx, query, self, udp)
}

func (f *Forwarder) overload(query []byte) []byte {
	f.metrics.forwards.WithLabelValues("overload").Inc()
	return servfail(query)
}

// take reserves one of the slots for source, without waiting.
func (f *Forwarder) take(source netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sources[source] >= maxOfOne && !source.IsLoopback() {
		return false
	}
	select {
	case f.slots <- struct{}{}:
		f.sources[source]++
		return true
	default:
		return false
	}
}

func (f *Forwarder) release(source netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	<-f.slots
	if f.sources[source]--; f.sources[source] == 0 {
		delete(f.sources, source)
	}
}

// forward is Forward within a slot.
func (f *Forwarder) forward(ctx context.Context, query []byte, source netip.Addr, udp bool) []byte {
	var q question
	if !q.parse(query) {
		var ok bool
		if query, ok = plainQuery(query); !ok || !q.parse(query) {
			f.metrics.forwards.WithLabelValues("odd").Inc()
			return servfail(query)
		}
	}
	if h := f.handler.Load(); h == nil {
		q.cookie = nil
	} else if q.cookie != nil {
		h.cookies.server(q.server[:0], q.cookie, source, uint32(f.now().Unix()))
	}
	reply, how := f.lookup(ctx, &q, query)
	f.metrics.forwards.WithLabelValues(how).Inc()
	if reply == nil {
		return q.addCookie(servfail(query))
	}
	return q.finish(reply, query, udp)
}

// lookup is the answer to q, as scrub made it, from the cache or a resolver;
// nil if there is none. how says which.
func (f *Forwarder) lookup(ctx context.Context, q *question, query []byte) (reply []byte, how string) {
	key := cacheKey(q, query[3])
	kept, stale, retry := f.cache.get(key, f.now())
	switch {
	case kept != nil && !stale:
		return kept, "cached"
	case kept != nil && !retry:
		return kept, "stale"
	}
	c := f.join(key, q, query)
	var late <-chan time.Time
	if kept != nil {
		timer := time.NewTimer(staleAfter)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-c.done:
		if c.reply != nil && (kept == nil || helpful(c.reply)) {
			return c.reply, "answered"
		}
	case <-late:
	case <-ctx.Done():
	}
	if kept != nil {
		return kept, "stale"
	}
	return nil, "failed"
}

// join is the call for key that is under way, or a new one.
func (f *Forwarder) join(key string, q *question, query []byte) *call {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.underway[key]; c != nil {
		return c
	}
	c := &call{done: make(chan struct{})}
	if f.ctx.Err() != nil {
		close(c.done)
		return c
	}
	f.underway[key] = c
	upstream := *q
	query = append([]byte(nil), query...)
	f.calls.Go(func() {
		defer close(c.done)
		reply, life := f.ask(f.ctx, &upstream, query)
		switch has := f.cache.has(key, f.now()); {
		case reply != nil && (helpful(reply) || !has):
			f.cache.put(key, reply, life, f.now())
		case has:
			f.cache.failed(key, f.now())
		}
		c.reply = reply
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.underway, key)
	})
	return c
}

// finish makes of a reply as scrub made it the one to query: with its id and
// letters, cut down to the question if it is too long for the client.
func (q *question) finish(reply, query []byte, udp bool) []byte {
	out := append(make([]byte, 0, len(reply)+optLen), reply...)
	copy(out, query[:2])
	copy(out[headerLen:], query[headerLen:q.end])
	out[2] = out[2]&^bitRD | query[2]&bitRD
	limit := maxTCP
	if udp {
		limit = int(q.size)
	}
	if len(out) > limit-q.optSize() {
		out = out[:q.end]
		out[2] |= bitTC
		clear(out[6:headerLen])
	}
	if q.edns {
		out = q.appendOPT(out)
		binary.BigEndian.PutUint16(out[10:], binary.BigEndian.Uint16(out[10:])+1)
	}
	return out
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
