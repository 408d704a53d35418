package dnsd

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Limits of the cache of foreign answers.
const (
	cacheEntries = 4096
	cacheBytes   = 4096 // of one reply
	cacheMax     = time.Hour
	negativeMax  = 5 * time.Minute  // RFC 2308 section 5
	failureLife  = time.Second      // of a SERVFAIL: RFC 9520 section 3.2
	staleLife    = 24 * time.Hour   // how long an answer may serve after its TTL: RFC 8767 section 5
	staleTTL     = 30               // of such an answer, seconds: section 4
	staleRetry   = 30 * time.Second // between attempts at a better one: section 5
)

// cache remembers replies: for as long as their TTLs, and, for when no resolver
// has a better one, for staleLife more.
type cache struct {
	mu      sync.Mutex
	entries map[string]*cached // guarded by mu; values are immutable
}

// cached is one reply, as scrub made it.
type cached struct {
	reply []byte
	ttls  []int // where TTLs lie in reply
	at    time.Time
	until time.Time // its TTLs
	keep  time.Time // until it is of no use at all
	retry time.Time // until then a stale one is served without asking
}

func newCache() *cache { return &cache{entries: map[string]*cached{}} }

// cacheKey tells replies apart that differ by more than id, letter case and
// EDNS.
func cacheKey(q *question, cd byte) string {
	flags := cd & bitCD
	if q.do {
		flags |= 2
	}
	return string(append(q.key[:q.name+2:q.name+2], flags))
}

// get is the reply under key with what is left of its TTLs, or nil. stale means
// that they are over.
func (c *cache) get(key string, now time.Time) (reply []byte, stale, retry bool) {
	c.mu.Lock()
	entry := c.entries[key]
	c.mu.Unlock()
	if entry == nil || !now.Before(entry.keep) {
		return nil, false, false
	}
	reply = slices.Clone(entry.reply)
	stale = !now.Before(entry.until)
	age := uint32(max(0, now.Sub(entry.at)) / time.Second)
	for _, at := range entry.ttls {
		ttl := uint32(staleTTL)
		if !stale {
			ttl = binary.BigEndian.Uint32(reply[at:])
			ttl -= min(age, ttl)
		}
		binary.BigEndian.PutUint32(reply[at:], ttl)
	}
	return reply, stale, !now.Before(entry.retry)
}

// put remembers reply, which scrub made, under key for life; no life is not at
// all.
func (c *cache) put(key string, reply []byte, life time.Duration, now time.Time) {
	if len(reply) > cacheBytes || life <= 0 {
		return
	}
	ttls, ok := walkTTLs(reply)
	if !ok {
		return
	}
	entry := &cached{reply: slices.Clone(reply), ttls: ttls, at: now, until: now.Add(life)}
	entry.keep = entry.until
	if helpful(reply) {
		entry.keep = entry.until.Add(staleLife)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= cacheEntries {
		c.evict(now)
	}
	c.entries[key] = entry
}

// has tells whether there is a reply of use under key, stale or not.
func (c *cache) has(key string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := c.entries[key]
	return entry != nil && now.Before(entry.keep) && helpful(entry.reply)
}

// helpful tells whether reply says something about its name, and not only that
// somebody could not or would not.
func helpful(reply []byte) bool {
	code := reply[3] & maskRcode
	return code == dns.RcodeSuccess || code == dns.RcodeNameError
}

// failed notes that there was nothing better than the stale reply under key.
func (c *cache) failed(key string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry := c.entries[key]; entry != nil {
		next := *entry
		next.retry = now.Add(staleRetry)
		c.entries[key] = &next
	}
}

// evict makes room: what has expired goes, and then whatever, until an eighth
// is free.
func (c *cache) evict(now time.Time) {
	for key, entry := range c.entries {
		if !now.Before(entry.until) {
			delete(c.entries, key)
		}
	}
	for key := range c.entries {
		if len(c.entries) <= cacheEntries*7/8 {
			return
		}
		delete(c.entries, key)
	}
}

// walkTTLs finds the TTLs of all records of reply, which has no OPT.
func walkTTLs(reply []byte) (ttls []int, ok bool) {
	at, ok := skipName(reply, headerLen)
	if !ok {
		return nil, false
	}
	at += 4
	count := 0
	for i := 6; i < headerLen; i += 2 {
		count += int(binary.BigEndian.Uint16(reply[i:]))
	}
	for range count {
		if at, ok = skipName(reply, at); !ok || at+10 > len(reply) {
			return nil, false
		}
		ttls = append(ttls, at+4)
		at += 10 + int(binary.BigEndian.Uint16(reply[at+8:]))
	}
	return ttls, at == len(reply)
}

// skipName returns where the name at at ends.
func skipName(msg []byte, at int) (int, bool) {
	for at < len(msg) {
		switch c := msg[at]; {
		case c == 0:
			return at + 1, true
		case c >= 0xc0:
			return at + 2, true
		case c > 63:
			return 0, false
		default:
			at += 1 + int(c)
		}
	}
	return 0, false
}
