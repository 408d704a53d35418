package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync/chunk"
)

// errRestart: no source can go on with the stream that was begun; another one, from its beginning, may do.
var errRestart = errors.New("no source has the stream that was begun")

// pull reads one stream from one source after another, and feeds checked frames to a reader. It is used by one
// goroutine, but for feed.
type pull struct {
	c       *Client
	method  string
	path    string
	query   url.Values // without offset
	body    []byte     // of a POST
	sources []Source   // those that have not said no
	tell    *teller
	feed    *feed
	roll    *roll // over the frames that were checked
	bytes   int64
	held    []byte // the last frame that was checked: it goes on when another one, or the right end, has come
	unpack  *chunk.Packer
}

// pull makes one of the stream that q names.
func (c *Client) pull(q url.Values, sources []Source, tell *teller) *pull {
	if c.zstd {
		q.Set("zstd", "1")
	}
	return &pull{
		c: c, method: http.MethodGet, path: pathStream, query: q, sources: slices.Clone(sources), tell: tell, feed: newFeed(), roll: newRoll(),
	}
}

// feedTo runs the pull while read reads from its feed, and returns when both have ended. What the source did wrong
// comes first in the error: the reader only knows that its stream was cut.
func (p *pull) feedTo(ctx context.Context, read func(context.Context, io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	err := read(ctx, p.feed)
	close(p.feed.stop)
	cancel()
	perr := <-ended
	if err == nil {
		return nil // it may have found what it wants here, and read nothing
	}
	if perr != nil && !errors.Is(perr, errNoReader) && !errors.Is(perr, context.Canceled) {
		return errors.Join(perr, err)
	}
	return err
}

// run pulls until the end of the stream. The error is what the reader gets, too.
func (p *pull) run(ctx context.Context) (err error) {
	defer func() {
		if p.unpack != nil {
			p.unpack.Close()
		}
		p.feed.end(err)
	}()
	pause, other := firstPause, error(nil) // what a source said that has another stream
	begun := time.Now()
	for failed, asked := 0, 0; ; {
		if len(p.sources) == 0 {
			return errors.Join(errRestart, other)
		}
		src := p.c.scores.order(p.sources, p.others())[0]
		p.tell.from(src.Name)
		before := p.roll.frames
		err := p.from(ctx, src)
		if err == nil {
			p.tell.at(src.Name, p.bytes, true)
			return nil
		}
		fault := faultOf(ctx, err)
		if fault == "" || errors.Is(err, errNoReader) {
			return errors.Join(err, context.Cause(ctx))
		}
		p.c.blame(src, fault, err)
		switch {
		case fault == faultRefused || fault == faultLie:
			p.sources = slices.DeleteFunc(p.sources, func(s Source) bool { return s.Name == src.Name })
			other = err
			continue
		case p.roll.frames > before: // a bad line is no reason to give up as long as something comes
			failed, asked, pause = 0, 0, firstPause
			continue
		}
		if fault != faultBusy { // who serves others is there, and will have time
			failed++
		}
		if failed >= p.c.tries*len(p.sources) || (fault == faultBusy && time.Since(begun) > busyPatience) {
			if other != nil {
				return errors.Join(errRestart, err, other)
			}
			return err
		}
		if asked++; asked%len(p.sources) == 0 { // all of them were asked
			if err := sleep(ctx, pause); err != nil {
				return err
			}
			pause = min(2*pause, lastPause)
			if fault == faultBusy {
				pause = min(pause, busyPause)
			}
		}
	}
}

// others is how many streams besides this one come from each source.
func (p *pull) others() map[string]int {
	busy := p.c.board.busy()
	if peer := p.tell.peer.Load(); peer != nil && busy[*peer] > 0 {
		busy[*peer]--
	}
	return busy
}

const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
	busyPause  = 500 * time.Millisecond
	// busyPatience is how long a stream waits for sources that only have no time: many hosts that begin at once
	// with one image have one source, and it sends a few streams at a time.
	busyPatience = 15 * time.Minute
)

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// from goes on with the stream from one source. nil is its right end.
func (p *pull) from(ctx context.Context, src Source) error {
	w, ctx := watch(ctx, p.c.stall, p.c.limit, func(n int) { p.c.metrics.receivedBytes.Add(float64(n)) })
	defer w.close()
	q := p.query
	if p.roll.frames > 0 {
		at, prefix := p.roll.frames*FrameSize, p.roll.sum()
		q = url.Values{"offset": {strconv.FormatInt(at, 10)}, "prefix": {hex.EncodeToString(prefix[:])}}
		for k, v := range p.query {
			q[k] = v
		}
	}
	resp, err := src.request(ctx, p.method, p.path, q, bytes.NewReader(p.body)) //nolint:bodyclose // watched closes it
	if err != nil {
		return w.why(err)
	}
	w.opened(resp.Body)
	position := int64(-1)
	for {
		h, b, err := readFrame(w, p.feed.buffer())
		if err != nil {
			return fmt.Errorf("read from %s: %w", src.Name, err)
		}
		switch h.kind {
		case frameData, frameZstd:
			if b, err = p.check(h, b); err != nil {
				return fmt.Errorf("read from %s: %w", src.Name, err)
			}
			if err := p.take(ctx, b); err != nil {
				return err
			}
			p.tell.at(src.Name, p.bytes, false)
		case frameAlive:
			if n := int64(binary.BigEndian.Uint64(b)); n > position {
				position = n
				w.progress()
			}
			p.feed.reuse(b)
		case frameError:
			return remoteError(src, b)
		case frameEnd:
			if sum(b[8:]) != p.roll.sum() || int64(binary.BigEndian.Uint64(b)) != p.bytes {
				return fmt.Errorf("read from %s: %w: the sum over %d bytes", src.Name, errLie, p.bytes)
			}
			return p.feed.put(ctx, p.held)
		}
	}
}

func remoteError(src Source, b []byte) error {
	r := &RemoteError{}
	if err := json.Unmarshal(b, r); err != nil || r.Code == "" {
		return fmt.Errorf("%w: an error that cannot be read from %s", errLie, src.Name)
	}
	r.Source = src.Name
	return r
}

// check returns what a frame means. All frames but the last are of one size, so that their places are known.
func (p *pull) check(h header, b []byte) ([]byte, error) {
	if p.held != nil && len(p.held) != FrameSize {
		return nil, fmt.Errorf("%w: a frame of %d bytes after one of %d", errLie, h.raw, len(p.held))
	}
	if h.kind == frameZstd {
		var err error
		if b, err = p.open(b, h.raw); err != nil {
			return nil, fmt.Errorf("%w: %w", errLie, err)
		}
	}
	if checkOf(b) != h.check {
		return nil, fmt.Errorf("%w: frame %d", errLie, p.roll.frames)
	}
	p.roll.add(h.check)
	p.bytes += int64(len(b))
	return b, nil
}

func (p *pull) open(packed []byte, raw int) (out []byte, err error) {
	if p.unpack == nil {
		if p.unpack, err = chunk.NewPacker(); err != nil {
			return nil, err
		}
	}
	out, err = p.unpack.Open(p.feed.buffer()[:0], packed, raw)
	p.feed.reuse(packed)
	return out, err
}

// take hands on the frame before b, and keeps b.
func (p *pull) take(ctx context.Context, b []byte) error {
	was := p.held
	p.held = b
	return p.feed.put(ctx, was)
}
