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
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rexcarcer/rexcarcer/internal/bulk"
	"github.com/rexcarcer/rexcarcer/zfssync/chunk"
)

// sendFrames is how many frames wait to be sent.
const sendFrames = 8

// aliveEvery is how often a sender that has nothing to send yet says how far it is.
const aliveEvery = 2 * time.Second

// frameWriter cuts what is written to it into frames, which run hashes and sends while the store goes on reading in
// another goroutine. A resumed stream is hashed up to where the peer has it.
type frameWriter struct {
	ctx     context.Context //nolint:containedctx // of one request, whose Send writes through io.Writer
	w       http.ResponseWriter
	rc      *http.ResponseController
	wide    *bulk.Conn // below w; may be nil
	limit   *rate.Limiter
	stall   time.Duration
	metrics *Metrics
	pack    *chunk.Packer // nil: as it is
	packed  []byte
	buf     []byte        // being filled
	full    chan []byte   // to run, closed when the store has ended
	free    chan []byte   // from run
	failed  chan struct{} // closed by run when err is set
	ended   chan struct{} // closed when the store has ended
	err     error         // immutable after failed is closed
	roll    *roll         // owned by run, as what follows
	after   int64         // frames that the peer has already
	prefix  sum           // over those
	total   int64         // bytes of the stream so far
	mu      sync.Mutex
	head    []byte
	idle    bool  // guarded by mu: nothing was sent since the last look
	gone    int64 // guarded by mu: bytes gone through, for the keep-alive
	entry   *entry
}

func (s *Server) writer(ctx context.Context, w http.ResponseWriter, zstd bool) *frameWriter {
	f := &frameWriter{
		ctx: ctx, w: w, rc: http.NewResponseController(w), wide: below(ctx), limit: s.limit, stall: s.stall, metrics: s.metrics, entry: &entry{},
		buf: make([]byte, 0, FrameSize), roll: newRoll(), head: make([]byte, 0, frameHeader),
		full: make(chan []byte, sendFrames), free: make(chan []byte, sendFrames+2), failed: make(chan struct{}), ended: make(chan struct{}),
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

// run calls send, sends what it writes, and keeps the peer informed while nothing comes of it.
func (f *frameWriter) run(send func() error) error {
	f.wide.Gather()
	var err error // of send, once ended is closed
	go func() {
		defer close(f.ended)
		defer close(f.full)
		if err = send(); err == nil && len(f.buf) > 0 {
			err = f.flush()
		}
	}()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go f.informing(stop, stopped)
	defer func() {
		close(stop)
		<-stopped
		if f.err == nil { // a panic on its way through the handler: net/http's way to break a connection
			f.fail(http.ErrAbortHandler)
		}
		<-f.ended
	}()
	for b := range f.full {
		if ferr := f.frame(b); ferr != nil {
			f.fail(ferr) // the store only learns that nobody takes what it sends
			<-f.ended
			return ferr
		}
		select {
		case f.free <- b:
		default:
		}
	}
	<-f.ended
	return err
}

// fail makes flush return err from now on.
func (f *frameWriter) fail(err error) {
	f.err = err
	close(f.failed)
}

// informing calls alive until stop is closed.
func (f *frameWriter) informing(stop, stopped chan struct{}) {
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
}

// flush hands the buffer to the goroutine, and takes another one.
func (f *frameWriter) flush() error {
	select {
	case f.full <- f.buf:
	case <-f.failed:
		return f.err
	}
	select {
	case b := <-f.free:
		f.buf = b[:0]
	default:
		f.buf = make([]byte, 0, FrameSize)
	}
	return nil
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
	_ = f.emit(frameAlive, 0, 0, binary.BigEndian.AppendUint64(nil, uint64(f.gone))) // the next frame meets the same error
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

// ReadFrom takes bytes of the stream until r ends, without a buffer between.
func (f *frameWriter) ReadFrom(r io.Reader) (n int64, err error) {
	for {
		k, err := r.Read(f.buf[len(f.buf):cap(f.buf)])
		f.buf = f.buf[:len(f.buf)+k]
		n += int64(k)
		if len(f.buf) == FrameSize {
			if err := f.flush(); err != nil {
				return n, err
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// frame sends b as one frame.
func (f *frameWriter) frame(b []byte) error {
	check := checkOf(b)
	f.total += int64(len(b))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone += int64(len(b))
	f.entry.bytes.Store(f.gone)
	f.roll.add(check)
	if f.roll.frames <= f.after {
		if f.roll.frames == f.after && f.roll.sum() != f.prefix {
			return errPrefix
		}
		return f.ctx.Err()
	}
	kind, payload := byte(frameData), b
	if f.pack != nil {
		if f.packed = f.pack.Frame(f.packed[:0], b); len(f.packed) < len(b)*15/16 {
			kind, payload = frameZstd, f.packed
		}
	}
	f.idle = false
	return f.emit(kind, len(b), check, payload)
}

// emit writes one frame; the caller holds mu.
func (f *frameWriter) emit(kind byte, raw int, check uint64, payload []byte) error {
	head := header{kind: kind, size: len(payload), raw: raw, check: check}.append(f.head[:0])
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
		if err := f.wide.Flush(); err != nil {
			return fmt.Errorf("send to peer: %w", err)
		}
		f.metrics.sentBytes.Add(float64(len(piece)))
		head, b = nil, b[len(piece):]
	}
	if kind == frameAlive || kind == frameEnd || kind == frameError {
		return errors.Join(f.rc.Flush(), f.wide.Flush())
	}
	return nil
}

// end sends what is left and how it ended, and returns the error of the stream or of sending.
func (f *frameWriter) end(err error) error {
	if f.pack != nil {
		defer f.pack.Close()
	}
	if err == nil && f.roll.frames < f.after {
		err = errPrefix
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { _ = f.wide.Pass() }() // nothing is kept by now, unless it failed
	if err != nil {
		_ = f.emit(frameError, 0, 0, encodeError(codeOf(err), err)) // the peer may be what failed
		return err
	}
	whole := f.roll.sum()
	return f.emit(frameEnd, 0, 0, append(binary.BigEndian.AppendUint64(nil, uint64(f.total)), whole[:]...))
}

var _ io.ReaderFrom = (*frameWriter)(nil)

// advance says that the sender has gone through n bytes that are not sent as they are.
func (f *frameWriter) advance(n int) {
	f.mu.Lock()
	f.gone += int64(n)
	f.entry.bytes.Store(f.gone)
	f.mu.Unlock()
}
