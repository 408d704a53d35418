package syslogd

import (
	"net/netip"
	"time"
)

// What one source may send.
const (
	burst      = 2000                 // messages at once
	perMessage = 2 * time.Millisecond // and then one in this time
	maxSources = 4096                 // that are remembered
)

// limits says which sources send too much. It is one goroutine's, or guarded.
type limits struct {
	busyUntil map[netip.Addr]time.Time // when what was sent will have been paid for
}

// allow takes one message of from, or says that it is one too many.
func (l *limits) allow(from netip.Addr, now time.Time) bool {
	if l.busyUntil == nil || len(l.busyUntil) >= maxSources {
		l.forget(now)
	}
	at := l.busyUntil[from]
	if at.Before(now) {
		at = now
	}
	if at = at.Add(perMessage); at.Sub(now) > burst*perMessage {
		return false
	}
	l.busyUntil[from] = at
	return true
}

// forget drops who has paid, or all when too many have not.
func (l *limits) forget(now time.Time) {
	for from, at := range l.busyUntil {
		if !at.After(now) {
			delete(l.busyUntil, from)
		}
	}
	if l.busyUntil == nil || len(l.busyUntil) >= maxSources {
		l.busyUntil = map[netip.Addr]time.Time{}
	}
}
