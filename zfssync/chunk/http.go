package chunk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// errNoRanges: the server answers a Range request with the whole file (RFC 9110, section 14.2 allows it).
var errNoRanges = errors.New("server knows no Range requests")

// statusError is an answer that was not wanted.
type statusError int

func (s statusError) Error() string {
	return fmt.Sprintf("server answered %d %s", int(s), http.StatusText(int(s)))
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// retry calls try again while the connection breaks or the server is ill, with growing pauses.
func (f *fetcher) retry(ctx context.Context, try func(context.Context) error) error {
	pause := 100 * time.Millisecond
	for n := 0; ; n++ {
		err := try(ctx)
		var s statusError
		final := errors.Is(err, ErrNoIndex) || errors.Is(err, errNoRanges) || errors.Is(err, ErrIndex) && !errors.Is(err, io.ErrUnexpectedEOF) ||
			errors.As(err, &s) && s < 500
		if err == nil || final || n >= f.o.Retries || ctx.Err() != nil {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
		pause *= 2
	}
}

// run fetches size bytes of the file from off on.
func (f *fetcher) run(ctx context.Context, off, size int64) (b []byte, err error) {
	b = make([]byte, size)
	got := 0 // a retry goes on where the last try was cut
	err = f.retry(ctx, func(ctx context.Context) error {
		first := off + int64(got)
		body, status, err := f.get(ctx, f.file, fmt.Sprintf("bytes=%d-%d", first, off+size-1))
		if err != nil {
			return err
		}
		defer body.Close()
		switch status {
		case http.StatusPartialContent:
		case http.StatusOK:
			return errNoRanges
		default:
			return statusError(status)
		}
		n, err := io.ReadFull(body, b[got:])
		got += n
		return err
	})
	return b[:got], err
}

// whole downloads the file from its beginning and writes it from entry first on.
func (f *fetcher) whole(ctx context.Context, w io.Writer, first int) error {
	body, status, err := f.get(ctx, f.file, "")
	if err != nil {
		return err
	}
	defer body.Close()
	if status != http.StatusOK {
		return statusError(status)
	}
	frame := make([]byte, 0, 64<<10)
	for i, e := range f.got.Index.Chunks {
		if cap(frame) < int(e.Size) {
			frame = make([]byte, e.Size)
		}
		frame = frame[:e.Size]
		n, err := io.ReadFull(body, frame)
		f.got.Fetched += int64(n)
		if err != nil {
			return err
		}
		if i < first {
			continue
		}
		if err := f.put(w, e, frame); err != nil {
			return err
		}
	}
	return nil
}

// get begins a request that ends when the server brings nothing for the stall time.
func (f *fetcher) get(ctx context.Context, url, byteRange string) (io.ReadCloser, int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stalled := time.AfterFunc(f.o.Stall, func() { cancel(fmt.Errorf("nothing came for %v", f.o.Stall)) })
	b := &watched{stall: f.o.Stall, timer: stalled, cancel: cancel, ctx: ctx}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		b.end()
		return nil, 0, err
	}
	req.Header.Set("Accept-Encoding", "identity") // else the transport may unpack by itself, and ranges mean something else
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := f.o.Client.Do(req) //nolint:bodyclose // watched closes it
	if err != nil {
		err = b.cause(err)
		b.end()
		return nil, 0, err
	}
	b.body = resp.Body
	return b, resp.StatusCode, nil
}

// watched is a body whose reads must bring something in time.
type watched struct {
	body   io.ReadCloser
	stall  time.Duration
	timer  *time.Timer
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		b.timer.Reset(b.stall)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.cause(err)
	}
	return n, err
}

// cause says why a request was ended by ourselves.
func (b *watched) cause(err error) error {
	if why := context.Cause(b.ctx); why != nil && !errors.Is(why, context.Canceled) {
		return why
	}
	return err
}

func (b *watched) Close() error {
	b.end()
	return b.body.Close()
}

func (b *watched) end() {
	b.timer.Stop()
	b.cancel(nil)
}
