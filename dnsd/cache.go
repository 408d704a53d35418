package dnsd

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Limits of the cache of foreign answers. It exists to spare the host's
// resolver a storm, not to replace its own cache.
const (
	cacheEntries = 2048
	cacheBytes   = 4096 // of one reply
	cacheMax     = 60 * time.Second
)

// cache remembers replies for as long as their shortest TTL.
type cache struct {
	mu      sync.Mutex
	entries map[string]*cached // guarded by mu; values are immutable
}

type cached struct {
	reply []byte
	ttls  []int // where TTLs lie in reply
	at    time.Time
	until time.Time
}

func newCache() *cache { return &cache{entries: map[string]*cached{}} }

// cacheKey tells replies apart that differ by more than id and letter case.
func cacheKey(q *question, cd byte) string {
	flags := cd & bitCD
	if q.edns {
		flags |= 1
	}
	if q.do {
		flags |= 2
	}
	return string(append(q.key[:q.name+2:q.name+2], flags))
}

// get is a reply to query with what is left of its TTLs, or nil.
func (c *cache) get(q *question, query []byte, now time.Time) []byte {
	c.mu.Lock()
	entry := c.entries[cacheKey(q, query[3])]
	c.mu.Unlock()
	if entry == nil || !now.Before(entry.until) {
		return nil
	}
	reply := slices.Clone(entry.reply)
	copy(reply, query[:2])
	copy(reply[headerLen:], query[headerLen:q.end])
	reply[2] = reply[2]&^bitRD | query[2]&bitRD
	age := uint32(max(0, now.Sub(entry.at)) / time.Second)
	for _, at := range entry.ttls {
		ttl := binary.BigEndian.Uint32(reply[at:])
		binary.BigEndian.PutUint32(reply[at:], ttl-min(age, ttl))
	}
	return reply
}

// put remembers reply if it may be repeated: NOERROR and NXDOMAIN that are
// whole and have a TTL.
func (c *cache) put(q *question, reply []byte, now time.Time) {
	code := reply[3] & maskRcode
	if len(reply) > cacheBytes || reply[2]&bitTC != 0 || code != dns.RcodeSuccess && code != dns.RcodeNameError {
		return
	}
	ttls, life, ok := walkTTLs(reply, q.end)
	if !ok || life <= 0 {
		return
	}
	entry := &cached{reply: slices.Clone(reply), ttls: ttls, at: now, until: now.Add(min(life, cacheMax))}
	key := cacheKey(q, reply[3])
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= cacheEntries {
		c.evict(now)
	}
	c.entries[key] = entry
}

// evict makes room: what has expired goes, else an eighth of all, whichever.
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

// walkTTLs finds the TTLs of all records of reply but OPT, whose field means
// something else, and the shortest of them.
func walkTTLs(reply []byte, at int) (ttls []int, life time.Duration, ok bool) {
	count := 0
	for i := 6; i < headerLen; i += 2 {
		count += int(binary.BigEndian.Uint16(reply[i:]))
	}
	life = cacheMax
	for range count {
		if at, ok = skipName(reply, at); !ok || at+10 > len(reply) {
			return nil, 0, false
		}
		if binary.BigEndian.Uint16(reply[at:]) != dns.TypeOPT {
			ttls = append(ttls, at+4)
			life = min(life, time.Duration(binary.BigEndian.Uint32(reply[at+4:]))*time.Second)
		}
		at += 10 + int(binary.BigEndian.Uint16(reply[at+8:]))
	}
	return ttls, life, len(ttls) > 0 && at == len(reply)
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
