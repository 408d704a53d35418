package chunk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Suffix of an index beside the file that it describes.
const Suffix = ".chunks"

// ErrNoIndex is returned, before a byte is written, when the server has no index: download the file as a whole.
var ErrNoIndex = errors.New("there is no chunk index")

// Fetch says how a packed file is fetched. The zero value is ready.
type Fetch struct {
	Client   *http.Client  // nil is a plain one; it decides on redirects and certificates
	Have     []*Local      // where chunks are taken from instead
	Partial  io.ReaderAt   // what an earlier try had written before it was cut off
	Parallel int           // requests at once, 0 is 4; each holds at most 2 MiB or one chunk
	Retries  int           // of one request after a broken connection or a 5xx answer, 0 is 3
	Stall    time.Duration // a request that brings nothing for so long is broken, 0 is 15 s
	Progress func(Fetched) // called from time to time by the caller's goroutine; may be nil
}

// Fetched says what a Fetch has cost.
type Fetched struct {
	Index   *Index
	Fetched int64 // bytes over the network, index included
	Reused  int64 // bytes of the file that were not fetched
	Written int64 // of Index.PackedBytes()
}

const (
	runBytes    = 2 << 20
	indexLimit  = int64(headerSize + maxEntries*packedSize + sha256.Size)
	reportEvery = 1 << 20
)

// FetchChunked writes the packed file at rawURL to w, bit by bit as it is there, and fetches only chunks that nobody of
// o.Have has. Every chunk is checked against the index before it is written; whether the file is the one that was
// wanted is for the caller to check, by its signature or digest. When an error comes, what was written is right as far
// as it goes, and serves as Partial of the next try.
func FetchChunked(ctx context.Context, rawURL string, o Fetch, w io.Writer) (Fetched, error) {
	f, err := newFetcher(rawURL, o)
	if err != nil {
		return Fetched{}, err
	}
	defer f.z.Close()
	if f.got.Index, err = f.index(ctx); err != nil {
		return f.got, fmt.Errorf("fetch chunk index of %s: %w", rawURL, err)
	}
	if o.Partial != nil {
		l, err := NewLocal(o.Partial, f.got.Index)
		if err != nil {
			return f.got, err
		}
		defer l.Close()
		f.o.Have = append(f.o.Have[:len(f.o.Have):len(f.o.Have)], l)
	}
	if err := f.all(ctx, w); err != nil {
		return f.got, fmt.Errorf("fetch %s: %w", rawURL, err)
	}
	return f.got, nil
}

type fetcher struct {
	o          Fetch
	file, list string // URLs
	z          *Packer
	got        Fetched
	told       int64 // Written at the last report
}

func newFetcher(rawURL string, o Fetch) (*fetcher, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", rawURL, err)
	}
	if o.Client == nil {
		o.Client = &http.Client{}
	}
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	if o.Retries <= 0 {
		o.Retries = 3
	}
	if o.Stall <= 0 {
		o.Stall = 15 * time.Second
	}
	f := &fetcher{o: o, file: u.String()}
	u.Path, u.RawPath = u.Path+Suffix, ""
	f.list = u.String()
	f.z, err = NewPacker()
	return f, err
}

func (f *fetcher) index(ctx context.Context) (x *Index, err error) {
	err = f.retry(ctx, func(ctx context.Context) error {
		body, status, err := f.get(ctx, f.list, "")
		if err != nil {
			return err
		}
		defer body.Close()
		switch status {
		case http.StatusOK:
		case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
			return fmt.Errorf("%w: status %d", ErrNoIndex, status)
		default:
			return statusError(status)
		}
		in := &counted{r: io.LimitReader(body, indexLimit)}
		x, err = ReadIndex(in)
		f.got.Fetched += in.n
		if err == nil && !x.Packed {
			return fmt.Errorf("%w: it is not of a packed file", ErrIndex)
		}
		return err
	})
	return x, err
}

// job is a run of entries that are all fetched, by one request, or all at hand.
type job struct {
	from, to int // entries
	off      int64
	size     int64 // bytes in the file
	fetch    bool
	done     chan answer // of a request that runs; nil before
}

type answer struct {
	b   []byte
	err error
}

func (f *fetcher) jobs() (out []*job) {
	off := int64(0)
	for i, e := range f.got.Index.Chunks {
		fetch := !f.has(e.ID)
		n := int64(e.Size)
		if k := len(out) - 1; k >= 0 && out[k].fetch == fetch && out[k].size+n <= runBytes {
			out[k].to, out[k].size = i+1, out[k].size+n
		} else {
			out = append(out, &job{from: i, to: i + 1, off: off, size: n, fetch: fetch})
		}
		off += n
	}
	return out
}

func (f *fetcher) has(id ID) bool {
	for _, l := range f.o.Have {
		if l.Has(id) {
			return true
		}
	}
	return false
}

// all works the jobs off in order, with requests under way for those ahead.
func (f *fetcher) all(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	jobs := f.jobs()
	ahead, running := 0, 0
	begin := func() {
		for ; ahead < len(jobs) && running < f.o.Parallel; ahead++ {
			if j := jobs[ahead]; j.fetch {
				j.done = make(chan answer, 1)
				running++
				go func() {
					b, err := f.run(ctx, j.off, j.size)
					j.done <- answer{b, err}
				}()
			}
		}
	}
	defer func() {
		cancel()
		for _, j := range jobs {
			if j.done != nil {
				<-j.done
			}
		}
	}()
	for _, j := range jobs {
		begin()
		var b []byte
		if j.fetch {
			a := <-j.done
			j.done, running = nil, running-1
			if errors.Is(a.err, errNoRanges) {
				return f.whole(ctx, w, j.from)
			}
			if a.err != nil {
				return a.err
			}
			b = a.b
		}
		if err := f.write(ctx, w, j, b); err != nil {
			return err
		}
	}
	return nil
}

// write writes one job; b is what was fetched for it, nil for one that is at hand.
func (f *fetcher) write(ctx context.Context, w io.Writer, j *job, b []byte) error {
	if b != nil {
		f.got.Fetched += int64(len(b))
	}
	off := j.off
	for _, e := range f.got.Index.Chunks[j.from:j.to] {
		if err := ctx.Err(); err != nil {
			return err
		}
		var frame []byte
		if b != nil {
			frame, b = b[:e.Size], b[e.Size:]
		} else {
			var err error
			if frame, err = f.reuse(ctx, e, off); err != nil {
				return err
			}
		}
		if err := f.put(w, e, frame); err != nil {
			return err
		}
		off += int64(e.Size)
	}
	return nil
}

func (f *fetcher) put(w io.Writer, e Entry, frame []byte) error {
	if markOf(frame) != e.Frame {
		return fmt.Errorf("chunk at byte %d does not fit its check sum: the file is not the one that its index describes", f.got.Written)
	}
	if _, err := w.Write(frame); err != nil {
		return err
	}
	f.got.Written += int64(len(frame))
	if f.o.Progress != nil && f.got.Written-f.told >= reportEvery {
		f.told = f.got.Written
		f.o.Progress(f.got)
	}
	return nil
}

// reuse makes the frame of a chunk that a Local has; where that turns out wrong, it is fetched after all.
func (f *fetcher) reuse(ctx context.Context, e Entry, off int64) ([]byte, error) {
	for _, l := range f.o.Have {
		raw, ok, err := l.Chunk(nil, e.ID)
		if err != nil {
			return nil, fmt.Errorf("read chunk at hand: %w", err)
		}
		if !ok {
			continue
		}
		// Another version of the compressor may have packed it: then the bytes are right, and the file would be another.
		if frame := f.z.Frame(nil, raw); markOf(frame) == e.Frame {
			f.got.Reused += int64(e.Size)
			return frame, nil
		}
	}
	b, err := f.run(ctx, off, int64(e.Size))
	if errors.Is(err, errNoRanges) {
		return nil, errors.New("a chunk at hand is not usable, and the server knows no Range requests: download the file as a whole")
	}
	f.got.Fetched += int64(len(b))
	return b, err
}
