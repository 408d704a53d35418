package dnsd

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
)

// How many UDP queries a second one source has answered.
const (
	// StrangerRate is for those who are in none of our networks, a /24 or /56
	// together, without a cookie of ours: their address may be that of a victim.
	// Beyond it every second answer is an empty one that sends the client to
	// TCP, the others are left out.
	StrangerRate = 200
	// OwnRate is for one address of our networks, which cannot be forged there:
	// no jail keeps the others from being served.
	OwnRate = 50000
)

// limiter counts queries by source and second, in a table that does not grow.
// Sources that meet in a slot share its rate: one in 16,384.
type limiter struct {
	slots [1 << 14]atomic.Uint64 // the second in the upper half, how many in the lower
}

// count is how many queries have come from source in this second, this one
// included. With net set that is the /24 or /56 that source is in.
func (l *limiter) count(source netip.Addr, net bool, now uint32) uint32 {
	a := source.As16() // an IPv4 address lies in the last four
	n := len(a)
	if net && source.Is4() {
		n = 15
	} else if net {
		n = 7
	}
	slot := &l.slots[maphash.Bytes(seed, a[:n])%uint64(len(l.slots))]
	for {
		old := slot.Load()
		next := uint64(now)<<32 | 1
		if uint32(old>>32) == now {
			next = old + 1
		}
		if slot.CompareAndSwap(old, next) {
			return uint32(next)
		}
	}
}

// allowance is what a source may have.
type allowance uint8

const (
	whole allowance = iota
	slip            // an empty answer that says: come by TCP
	none
)

// allow tells what a UDP query from source deserves. own means that source is
// in a network of ours, proven that it showed a cookie of ours.
func (l *limiter) allow(source netip.Addr, own, proven bool, now uint32) allowance {
	switch {
	case source.IsLoopback():
		return whole // a host may wear itself out
	case own || proven:
		if l.count(source, false, now) > OwnRate {
			return none
		}
	default:
		if n := l.count(source, true, now); n > StrangerRate && n%2 == 0 {
			return slip
		} else if n > StrangerRate {
			return none
		}
	}
	return whole
}
