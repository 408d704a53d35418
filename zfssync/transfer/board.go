package transfer

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Board knows the streams that run on a host now, either way. Clients and a Server of one host share one. It is safe for
// concurrent use.
type Board struct {
	mu sync.Mutex // guards m
	m  map[*entry]bool
}

// NewBoard returns an empty one.
func NewBoard() *Board { return &Board{m: map[*entry]bool{}} }

// Running is one stream on a Board.
type Running struct {
	Progress
	Sending bool // to Source, which else is from where it comes
	Since   time.Time
}

// entry is a stream; what changes is atomic, because everybody may look.
type entry struct {
	object   zfssync.Object
	snapshot string
	sending  bool
	since    time.Time
	first    int64 // bytes that were here before it began
	total    int64 // 0 when unknown
	bytes    atomic.Int64
	peer     atomic.Pointer[string]
}

// add puts a stream on the board; call off when it is over.
func (b *Board) add(e *entry) (off func()) {
	e.since = time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m[e] = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.m, e)
	}
}

func (e *entry) from(peer string) {
	if p := e.peer.Load(); p == nil || *p != peer {
		e.peer.Store(&peer)
	}
}

// progress of e by now.
func (e *entry) progress(now time.Time) Progress {
	p := Progress{Object: e.object, Snapshot: e.snapshot, Bytes: e.bytes.Load()}
	if peer := e.peer.Load(); peer != nil {
		p.Source = *peer
	}
	p.Total = max(e.total, p.Bytes)
	if s := now.Sub(e.since).Seconds(); s > 0 {
		p.Rate = float64(p.Bytes-e.first) / s
	}
	if p.Rate > 0 && p.Total > p.Bytes {
		p.Left = time.Duration(float64(p.Total-p.Bytes) / p.Rate * float64(time.Second))
	}
	return p
}

// Running lists the streams that run, oldest first.
func (b *Board) Running() []Running {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Running, 0, len(b.m))
	for e := range b.m {
		out = append(out, Running{Progress: e.progress(now), Sending: e.sending, Since: e.since})
	}
	slices.SortFunc(out, func(a, b Running) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Object.String(), b.Object.String()))
	})
	return out
}

// busy is how many streams come from each source now.
func (b *Board) busy() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]int{}
	for e := range b.m {
		if peer := e.peer.Load(); peer != nil && !e.sending {
			out[*peer]++
		}
	}
	return out
}
