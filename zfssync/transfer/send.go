package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/chunk"
)

// aliveEvery is how often a sender that has nothing to send yet says how far it is.
const aliveEvery = 2 * time.Second

// named is a snapshot that a request asks for, and how.
type named struct {
	object zfssync.Object
	snap   zfssync.Snapshot
	opt    zfssync.SendOptions
}

// find reads which snapshot is asked for; it is found by GUID alone.
func (s *Server) find(ctx context.Context, q url.Values) (named, error) {
	o, err := objectOf(q)
	if err != nil {
		return named{}, err
	}
	list, err := s.store.Snapshots(ctx, o)
	if err != nil {
		return named{}, err
	}
	guid := q.Get("guid")
	i := slices.IndexFunc(list, func(s zfssync.Snapshot) bool { return s.GUID == guid })
	if i < 0 {
		return named{}, fmt.Errorf("%s has no snapshot of guid %.80q: %w", o, guid, zfssync.ErrNotFound)
	}
	return named{o, list[i], zfssync.SendOptions{Snapshot: list[i].Name, From: q.Get("from"), Resume: q.Get("resume")}}, nil
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, err := s.find(r.Context(), q)
	if err != nil {
		s.refuse(w, err)
		return
	}
	out := s.writer(r.Context(), w, q.Get("zstd") == "1")
	if err := out.skip(q.Get("offset"), q.Get("prefix")); err != nil {
		s.refuse(w, err)
		return
	}
	s.finish(out, n, out.run(func() error { return s.store.Send(r.Context(), n.object, n.opt, out) }))
}

// advance says that the sender has gone through n bytes that are not sent as they are.
func (f *frameWriter) advance(n int) {
	f.mu.Lock()
	f.gone += int64(n)
	f.mu.Unlock()
}

// finish ends a response: the peer is told what went wrong as long as it listens.
func (s *Server) finish(out *frameWriter, n named, err error) {
	if err = out.end(err); err != nil {
		s.log.Warn("stream ended early", "object", n.object.String(), "snapshot", n.snap.Name, "bytes", out.total, "err", err)
		s.metrics.sentFailed.Inc()
		return
	}
	s.log.Info("stream sent", "object", n.object.String(), "snapshot", n.snap.Name, "bytes", out.total)
}

// frameWriter cuts what is written to it into frames. A resumed stream is hashed up to where the peer has it.
type frameWriter struct {
	ctx     context.Context //nolint:containedctx // of one request, whose Send writes through io.Writer
	w       http.ResponseWriter
	rc      *http.ResponseController
	limit   *rate.Limiter
	stall   time.Duration
	metrics *Metrics
	pack    *chunk.Packer // nil: as it is
	packed  []byte
	buf     []byte
	roll    *roll
	after   int64 // frames that the peer has already
	prefix  sum   // over those
	total   int64 // bytes of the stream so far
	mu      sync.Mutex
	head    []byte
	idle    bool  // guarded by mu: nothing was sent since the last look
	gone    int64 // guarded by mu: bytes gone through, for the keep-alive
}

func (s *Server) writer(ctx context.Context, w http.ResponseWriter, zstd bool) *frameWriter {
	f := &frameWriter{
		ctx: ctx, w: w, rc: http.NewResponseController(w), limit: s.limit, stall: s.stall, metrics: s.metrics,
		buf: make([]byte, 0, FrameSize), roll: newRoll(), head: make([]byte, 0, frameHeader),
	}
	if zstd {
		f.pack, _ = chunk.NewPacker() // it fails for bad options only; without one nothing is packed
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	return f
}

// skip takes the peer's claim that it has the first offset bytes, with the sum prefix over their frames.
func (f *frameWriter) skip(offset, prefix string) error {
	if offset == "" {
		return nil
	}
	n, err := strconv.ParseInt(offset, 10, 64)
	b, herr := hex.DecodeString(prefix)
	if err != nil || herr != nil || n < 0 || n%FrameSize != 0 || len(b) != sha256.Size {
		return fmt.Errorf("offset %.30q with prefix %.80q: want a multiple of %d and a SHA-256", offset, prefix, FrameSize)
	}
	f.after, f.prefix = n/FrameSize, sum(b)
	return nil
}

// run calls send, and keeps the peer informed while nothing comes of it.
func (f *frameWriter) run(send func() error) error {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		t := time.NewTicker(aliveEvery)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				f.alive()
			}
		}
	}()
	err := send()
	close(stop)
	<-stopped
	return err
}

func (f *frameWriter) alive() {
	if !f.mu.TryLock() {
		return // it is sending
	}
	defer f.mu.Unlock()
	if !f.idle {
		f.idle = true
		return
	}
	_ = f.emit(frameAlive, 0, sum{}, binary.BigEndian.AppendUint64(nil, uint64(f.gone))) // the next frame meets the same error
}

// Write takes bytes of the stream.
func (f *frameWriter) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		k := min(len(p), FrameSize-len(f.buf))
		f.buf = append(f.buf, p[:k]...)
		p, n = p[k:], n+k
		if len(f.buf) == FrameSize {
			if err := f.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// flush sends the buffer as one frame.
func (f *frameWriter) flush() error {
	s := sha256.Sum256(f.buf)
	f.total += int64(len(f.buf))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone += int64(len(f.buf))
	if f.roll.frames < f.after {
		f.roll.add(s)
		f.buf = f.buf[:0]
		if f.roll.frames == f.after && f.roll.sum() != f.prefix {
			return errPrefix
		}
		return f.ctx.Err()
	}
	f.roll.add(s)
	kind, payload := byte(frameData), f.buf
	if f.pack != nil {
		if f.packed = f.pack.Frame(f.packed[:0], f.buf); len(f.packed) < len(f.buf)*15/16 {
			kind, payload = frameZstd, f.packed
		}
	}
	err := f.emit(kind, len(f.buf), s, payload)
	f.idle, f.buf = false, f.buf[:0]
	return err
}

// emit writes one frame; the caller holds mu.
func (f *frameWriter) emit(kind byte, raw int, s sum, payload []byte) error {
	head := header{kind: kind, size: len(payload), raw: raw, sum: s}.append(f.head[:0])
	for b := payload; len(head) > 0 || len(b) > 0; {
		piece := b[:min(len(b), FrameSize)]
		if f.limit != nil { // in small pieces, so that a low rate does not look like a stall
			piece = b[:min(len(b), limitPiece)]
			if err := f.limit.WaitN(f.ctx, len(piece)); err != nil {
				return err
			}
		}
		if err := f.rc.SetWriteDeadline(time.Now().Add(f.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return fmt.Errorf("send to peer: %w", err)
		}
		for _, part := range [][]byte{head, piece} {
			if len(part) == 0 {
				continue
			}
			if _, err := f.w.Write(part); err != nil {
				return fmt.Errorf("send to peer: %w", err)
			}
		}
		f.metrics.sentBytes.Add(float64(len(piece)))
		head, b = nil, b[len(piece):]
	}
	if kind == frameAlive || kind == frameEnd || kind == frameError {
		return f.rc.Flush()
	}
	return nil
}

// end sends what is left and how it ended, and returns the error of the stream or of sending.
func (f *frameWriter) end(err error) error {
	if f.pack != nil {
		defer f.pack.Close()
	}
	if err == nil && len(f.buf) > 0 {
		err = f.flush()
	}
	if err == nil && f.roll.frames < f.after {
		err = errPrefix
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		_ = f.emit(frameError, 0, sum{}, encodeError(codeOf(err), err)) // the peer may be what failed
		return err
	}
	return f.emit(frameEnd, 0, f.roll.sum(), binary.BigEndian.AppendUint64(nil, uint64(f.total)))
}

var _ io.Writer = (*frameWriter)(nil)
