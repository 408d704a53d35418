package syslogd

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// What goes from a router to the daemon, over a stream: one JSON object per
// line. Fields that are not known are passed over, so that both ends may be
// upgraded in any order.
type envelope struct {
	From netip.Addr `json:"from,omitzero"`
	Raw  []byte     `json:"raw,omitempty"`
	Lost int        `json:"lost,omitempty"` // messages that the router had to let go
}

// maxWaiting is how much waits for a daemon that is away, in bytes of messages.
const maxWaiting = 4 << 20

// Relay hands messages to the daemon at a socket. The newest are let go while
// it is away for long: the first ones say why. Make it with NewRelay.
type Relay struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	waiting []envelope // guarded by mu; oldest first
	bytes   int        // guarded by mu; of waiting
	lost    int        // guarded by mu; not told yet
	wake    chan struct{}
}

// NewRelay makes a Relay to the socket at path.
func NewRelay(path string, logger *slog.Logger) *Relay {
	return &Relay{path: path, log: logger, wake: make(chan struct{}, 1)}
}

// Take keeps a copy of one message for the daemon. It never waits.
func (r *Relay) Take(from netip.Addr, raw []byte) {
	r.mu.Lock()
	if r.bytes+len(raw) > maxWaiting {
		r.lost++
	} else {
		r.waiting = append(r.waiting, envelope{From: from, Raw: append([]byte(nil), raw...)})
		r.bytes += len(raw) + 64
	}
	r.mu.Unlock()
	r.poke()
}

// Lost counts messages that came to nothing.
func (r *Relay) Lost(n int) {
	r.mu.Lock()
	r.lost += n
	r.mu.Unlock()
	r.poke()
}

func (r *Relay) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Times between attempts to reach the daemon.
const (
	relayFirst = 50 * time.Millisecond
	relayMax   = 2 * time.Second
)

// Run hands over until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	wait := relayFirst
	for {
		sent, err := r.once(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was wanted, whatever it interrupted
		}
		if sent {
			wait = relayFirst
		}
		if wait == relayFirst {
			r.log.Warn("the daemon takes no messages of jails, they wait", "socket", r.path, "err", err)
		}
		if !pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, relayMax)
	}
}

// once hands over on one connection until it breaks.
func (r *Relay) once(ctx context.Context) (sent bool, err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", r.path)
	if err != nil {
		return false, err
	}
	defer c.Close() // a message that did not arrive is kept
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	gone := make(chan struct{})
	go func() { // the daemon says nothing: a read ends when it has gone
		defer close(gone)
		_, _ = c.Read(make([]byte, 1))
	}()
	defer func() { _ = c.Close(); <-gone }()
	out := bufio.NewWriterSize(c, 64<<10)
	enc := json.NewEncoder(out)
	for {
		batch, lost := r.batch()
		for i := range batch {
			if err := enc.Encode(&batch[i]); err != nil {
				r.giveBack(batch[i:], lost)
				return sent, err
			}
		}
		if lost > 0 {
			if err := enc.Encode(envelope{Lost: lost}); err != nil {
				r.giveBack(nil, lost)
				return sent, err
			}
		}
		if err := out.Flush(); err != nil {
			r.giveBack(batch, 0) // some may come twice: better than never
			return sent, err
		}
		sent = true
		select {
		case <-r.wake:
		case <-gone:
			return sent, net.ErrClosed
		case <-ctx.Done():
			return sent, ctx.Err()
		}
	}
}

func (r *Relay) batch() ([]envelope, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch, lost := r.waiting, r.lost
	r.waiting, r.bytes, r.lost = nil, 0, 0
	return batch, lost
}

// giveBack puts in front again what was not handed over.
func (r *Relay) giveBack(batch []envelope, lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range batch {
		r.bytes += len(batch[i].Raw) + 64
	}
	r.waiting = append(batch, r.waiting...)
	r.lost += lost
}
