package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Media types of streams.
const (
	ndjson      = "application/x-ndjson"
	eventStream = "text/event-stream"
)

// lines is an answer of JSON lines or server-sent events. While nothing
// happens it shows that it lives, so that a dead peer is noticed.
type lines struct {
	r   *request
	sse bool

	mu      sync.Mutex // guards the writer
	stop    chan struct{}
	stopped sync.WaitGroup
}

// newLines begins the answer. close must be called.
func newLines(r *request, media string) *lines {
	l := &lines{r: r, sse: media == eventStream, stop: make(chan struct{})}
	h := r.w.Header()
	h.Set("Content-Type", media)
	h.Set("X-Accel-Buffering", "no") // proxies must not hold lines back
	r.w.WriteHeader(http.StatusOK)
	_ = r.rc.Flush()
	l.stopped.Go(l.keepAlive)
	return l
}

func (l *lines) keepAlive() {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	sign := "\n" // an empty line is no JSON document: readers skip it
	if l.sse {
		sign = ": still here\n\n"
	}
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			if l.write([]byte(sign)) != nil {
				return
			}
		}
	}
}

func (l *lines) close() {
	close(l.stop)
	l.stopped.Wait()
}

// send writes v as one line.
func (l *lines) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a line: %w", err)
	}
	return l.write(append(b, '\n'))
}

// sendEvent writes v as one event, in SSE with an id to resume from.
func (l *lines) sendEvent(id, kind string, v any) error {
	if !l.sse {
		return l.send(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return l.write(fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", id, kind, b))
}

func (l *lines) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.r.rc.SetWriteDeadline(time.Now().Add(streamStall)) // a test's recorder has none
	if _, err := l.r.w.Write(b); err != nil {
		return err
	}
	return l.r.rc.Flush()
}
