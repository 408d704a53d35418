package transfer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"github.com/rexcarcer/rexcarcer/zfssync/chunk"
)

// index answers with the chunk index of a stream.
func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	n, err := s.find(r.Context(), r.URL.Query())
	if err != nil {
		s.refuse(w, err)
		return
	}
	q := r.URL.Query()
	out := s.writer(r.Context(), w, false) // sums do not compress
	if err := out.skip(q.Get("offset"), q.Get("prefix")); err != nil {
		s.refuse(w, err)
		return
	}
	s.send(r, out, n, func() error {
		var x *chunk.Index
		err := s.through(r.Context(), n, out, func(r io.Reader) (err error) {
			x, err = chunk.ReadPlain(r, chunk.ParamsFor(n.snap.Bytes))
			return err
		})
		if err == nil {
			_, err = x.WriteTo(out)
		}
		return err
	})
}

// chunks answers with some chunks of a stream, in order, one after the other.
func (s *Server) chunks(w http.ResponseWriter, r *http.Request) {
	n, err := s.find(r.Context(), r.URL.Query())
	if err != nil {
		s.refuse(w, err)
		return
	}
	q := r.URL.Query()
	params, err := paramsOf(q)
	if err == nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxRanges)
	}
	var body []byte
	if err == nil {
		body, err = io.ReadAll(r.Body)
	}
	out := s.writer(r.Context(), w, q.Get("zstd") == "1")
	if err == nil {
		err = out.skip(q.Get("offset"), q.Get("prefix"))
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.send(r, out, n, func() error {
		return s.through(r.Context(), n, out, func(r io.Reader) error { return pick(r, params, ranges(body), out) })
	})
}

// through reads the stream of n while it is written.
func (s *Server) through(ctx context.Context, n named, out *frameWriter, read func(io.Reader) error) error {
	pr, pw := io.Pipe()
	sent := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		err := s.write(ctx, n, &passing{pw, out})
		_ = pw.CloseWithError(err)
		sent <- err
	}()
	err := read(bufio.NewReaderSize(pr, FrameSize))
	_ = pr.CloseWithError(errNoReader)
	cancel()
	if serr := <-sent; err == nil && serr != nil && !errors.Is(serr, errNoReader) && !errors.Is(serr, context.Canceled) {
		err = serr
	}
	return err
}

// passing counts what goes by as the sender's progress.
type passing struct {
	w   io.Writer
	out *frameWriter
}

func (p *passing) Write(b []byte) (int, error) {
	p.out.advance(len(b))
	return p.w.Write(b)
}

// Ranges of chunks travel as pairs of big-endian numbers: the first one, and how many.
const maxRanges = 16 << 20

type ranges []byte

func (r ranges) next() (first, count uint32, rest ranges, ok bool) {
	if len(r) < 8 {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint32(r), binary.BigEndian.Uint32(r[4:]), r[8:], true
}

func paramsOf(q url.Values) (p chunk.Params, err error) {
	var errs [3]error
	p.Min, errs[0] = strconv.Atoi(q.Get("min"))
	p.Avg, errs[1] = strconv.Atoi(q.Get("avg"))
	p.Max, errs[2] = strconv.Atoi(q.Get("max"))
	if err := errors.Join(errs[:]...); err != nil {
		return p, fmt.Errorf("sizes of chunks: %w", err)
	}
	return p, p.Check()
}

// pick writes the chunks of r that want names.
func pick(r io.Reader, p chunk.Params, want ranges, w io.Writer) error {
	split := chunk.Split(r, p)
	at := uint32(0)
	for {
		first, count, rest, ok := want.next()
		if !ok {
			return nil
		}
		if count == 0 || first < at || uint64(first)+uint64(count) > math.MaxUint32 {
			return fmt.Errorf("chunks %d+%d were asked for after %d", first, count, at)
		}
		for ; at < first+count; at++ {
			b, err := split.Next()
			if errors.Is(err, io.EOF) {
				return fmt.Errorf("%w: it has %d chunks", errPrefix, at)
			}
			if err != nil {
				return err
			}
			if at < first {
				continue
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		want = rest
	}
}
