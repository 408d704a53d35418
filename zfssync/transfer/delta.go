package transfer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/chunk"
)

// largestDelta bounds the memory of an index; below smallestDelta a stream is quicker than the question.
const (
	largestDelta  = 1 << 40
	smallestDelta = 1 << 20
)

// spares reports whether a step may come by chunks.
func (c *Client) spares(ctx context.Context, s Step) bool {
	_, ok, err := c.alike(ctx, s)
	return ok && err == nil
}

// alike finds what here is most like a step's snapshot, where chunks can spare something.
func (c *Client) alike(ctx context.Context, s Step) (like zfssync.Snapshot, ok bool, err error) {
	n := s.Snapshot.Bytes
	if !c.delta || s.Snapshot.Format != zfssync.FormatTar || c.store.Features().Format != zfssync.FormatTar || n > largestDelta || n > 0 && n < smallestDelta {
		return like, false, nil
	}
	return c.similar(ctx, s.Snapshot)
}

// byChunks receives a stream of which much may be here already, in something similar. done is false when it is not worth
// while or did not work out, and the stream should come as a whole.
func (c *Client) byChunks(ctx context.Context, s Step, sources []Source, tell *teller, take func(context.Context, io.Reader) error) (done bool, err error) {
	like, ok, err := c.alike(ctx, s)
	if !ok || err != nil {
		return false, err
	}
	q := c.query(s)
	x, err := c.fetchIndex(ctx, q, sources, s, tell.came)
	if err != nil {
		c.log.Warn("no chunks: the whole stream is fetched", "what", s.String(), "err", err)
		return false, nil
	}
	have, release, err := c.copyOf(ctx, like, x.Params)
	if err != nil {
		c.log.Warn("nothing to compare with: the whole stream is fetched", "what", s.String(), "err", err)
		return false, nil
	}
	defer release()
	want, missing := wanted(x, have)
	c.metrics.reusedBytes.Add(float64(x.RawBytes() - missing))
	c.log.Info("fetching by chunks", "what", s.String(), "bytes", x.RawBytes(), "missing", missing, "like", like.Object.String())
	for k, n := range map[string]int{"min": x.Min, "avg": x.Avg, "max": x.Max} {
		q.Set(k, strconv.Itoa(n))
	}
	p := c.pull(q, sources, tell)
	p.method, p.path, p.body = http.MethodPost, pathChunks, want
	err = p.feedTo(ctx, func(ctx context.Context, r io.Reader) error { return take(ctx, &assembler{x: x, have: have, r: r}) })
	if errors.Is(err, errRestart) || errors.Is(err, errLie) {
		c.log.Warn("chunks did not fit: the whole stream is fetched", "what", s.String(), "err", err)
		return false, nil
	}
	return true, err
}

func (c *Client) fetchIndex(ctx context.Context, q url.Values, sources []Source, s Step, came *tally) (x *chunk.Index, err error) {
	p := c.pull(q, sources, newTeller(nil, s))
	p.path = pathChunks
	err = p.feedTo(ctx, func(_ context.Context, r io.Reader) (err error) {
		if x, err = chunk.ReadIndex(bufio.NewReader(r)); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		return err
	})
	came.more(p.bytes)
	return x, err
}

// similar finds what here is most like a snapshot: an older one of the same object; for a layer, one that stands on the
// same parent, or for a lowest one another lowest one.
func (c *Client) similar(ctx context.Context, snap zfssync.Snapshot) (like zfssync.Snapshot, ok bool, err error) {
	if snap.Object.Kind != zfssync.KindLayer {
		list, err := c.store.Snapshots(ctx, snap.Object)
		if err != nil || len(list) == 0 {
			return like, false, err
		}
		return list[len(list)-1], true, nil
	}
	l, err := c.store.List(ctx)
	if err != nil {
		return like, false, err
	}
	for _, key := range l.Layers {
		list, err := c.store.Snapshots(ctx, zfssync.Object{Kind: zfssync.KindLayer, Name: key})
		if err != nil {
			return like, false, err
		}
		for _, s := range list {
			if s.Layer == snap.Layer && s.GUID != snap.GUID && closer(s, like, snap) {
				like, ok = s, true
			}
		}
	}
	return like, ok, nil
}

// closer reports whether a is more like snap than b is: by what it was made from, then by age.
func closer(a, b, snap zfssync.Snapshot) bool {
	if same := a.Base == snap.Base; same != (b.Base == snap.Base) && b.GUID != "" {
		return same
	}
	return b.GUID == "" || a.CreatedAt.After(b.CreatedAt)
}

// copyOf writes the stream of a snapshot that is here into a file without a name, where single chunks can be read.
func (c *Client) copyOf(ctx context.Context, like zfssync.Snapshot, p chunk.Params) (l *chunk.Local, release func(), err error) {
	f, err := unnamed(c.work)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	opt := zfssync.SendOptions{Snapshot: like.Name}
	if like.Object.Kind != zfssync.KindVolume {
		opt.From = like.Origin
	}
	w := bufio.NewWriterSize(f, FrameSize)
	if err := c.store.Send(ctx, like.Object, opt, w); err != nil {
		return nil, nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	x, err := chunk.ReadPlain(f, p)
	if err != nil {
		return nil, nil, err
	}
	if l, err = chunk.NewLocal(f, x); err != nil {
		return nil, nil, err
	}
	return l, func() { l.Close(); _ = f.Close() }, nil
}

// wanted returns the ranges of chunks that are not at hand, and how many bytes they hold.
func wanted(x *chunk.Index, have *chunk.Local) (want []byte, missing int64) {
	for i := 0; i < len(x.Chunks); {
		if have.Has(x.Chunks[i].ID) {
			i++
			continue
		}
		first := i
		for ; i < len(x.Chunks) && !have.Has(x.Chunks[i].ID); i++ {
			missing += int64(x.Chunks[i].Raw)
		}
		want = binary.BigEndian.AppendUint32(want, uint32(first))
		want = binary.BigEndian.AppendUint32(want, uint32(i-first))
	}
	return want, missing
}

// assembler reads the whole stream: chunks at hand, and the others as they come from r.
type assembler struct {
	x    *chunk.Index
	have *chunk.Local
	r    io.Reader
	buf  []byte
	rest []byte
	at   int
}

// Read implements io.Reader for the store.
func (a *assembler) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.at == len(a.x.Chunks) {
			// The right end of what came must have been seen, and nothing more may come.
			if n, err := io.Copy(io.Discard, a.r); err != nil || n > 0 {
				return 0, errors.Join(fmt.Errorf("%w: %d bytes after the last chunk", errLie, n), err)
			}
			return 0, io.EOF
		}
		if err := a.chunk(a.x.Chunks[a.at]); err != nil {
			return 0, err
		}
		a.at++
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *assembler) chunk(e chunk.Entry) error {
	if a.have.Has(e.ID) {
		b, ok, err := a.have.Chunk(a.buf[:0], e.ID)
		if err == nil && !ok {
			err = errors.New("the copy of a similar object here has changed")
		}
		a.buf, a.rest = b, b
		return err
	}
	a.buf = slices.Grow(a.buf[:0], int(e.Raw))[:e.Raw]
	if _, err := io.ReadFull(a.r, a.buf); err != nil {
		return err
	}
	if sha256.Sum256(a.buf) != e.ID {
		return fmt.Errorf("%w: chunk %d", errLie, a.at)
	}
	a.rest = a.buf
	return nil
}
