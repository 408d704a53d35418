package dhcpd

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

const (
	offerSlots = 8192
	offerTime  = 10 * time.Second // clients take an offer within some seconds
)

// Offers remembers for a moment which address was offered to whom, so that
// machines which boot together get different ones. It has a fixed size: under
// a flood old offers are forgotten, and the log still gives an address once.
type Offers struct {
	seed maphash.Seed

	mu    sync.Mutex
	slots []offer
}

type offer struct {
	addr   netip.Addr
	client uint64
	until  fsm.Time
}

// NewOffers is an empty table.
func NewOffers() *Offers { return &Offers{seed: maphash.MakeSeed()} }

func (o *Offers) slot(a netip.Addr) *offer {
	if o.slots == nil {
		o.slots = make([]offer, offerSlots)
	}
	b := a.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return &o.slots[n%offerSlots]
}

// taken reports whether a was offered to another client a moment ago.
func (o *Offers) taken(a netip.Addr, client string, now fsm.Time) bool {
	if o == nil || !a.Is4() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.slot(a)
	return s.addr == a && now < s.until && s.client != maphash.String(o.seed, client)
}

// put remembers that a was offered to client.
func (o *Offers) put(a netip.Addr, client string, now fsm.Time) {
	if o == nil || !a.Is4() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	*o.slot(a) = offer{a, maphash.String(o.seed, client), now.Add(offerTime)}
}
