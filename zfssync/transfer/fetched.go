package transfer

import (
	"slices"
	"sync"
	"time"
)

// Fetched is what one call has brought here.
type Fetched struct {
	Bytes   int64         // of streams; what chunks and spool files here have saved is not among them
	Streams int           // 0: all was here already
	From    []string      // sources that ended a stream, in order of their names
	Took    time.Duration // of the whole call, waiting included
}

// tally collects a Fetched while streams come side by side. A nil one collects nothing.
type tally struct {
	mu sync.Mutex // guards f
	f  Fetched
}

// add notes a stream that is here.
func (t *tally) add(source string, bytes int64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.f.Bytes += bytes
	t.f.Streams++
	if at, ok := slices.BinarySearch(t.f.From, source); !ok {
		t.f.From = slices.Insert(t.f.From, at, source)
	}
}

// more notes bytes that came besides a stream.
func (t *tally) more(bytes int64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.f.Bytes += bytes
}

// since returns what was collected since begun.
func (t *tally) since(begun time.Time) Fetched {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.f.Took = time.Since(begun)
	return t.f
}
