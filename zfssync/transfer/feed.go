package transfer

import (
	"context"
	"errors"
	"io"
)

// feed is a pipe of whole frames, whose buffers go round.
type feed struct {
	full, free chan []byte
	done       chan struct{} // closed by end
	err        error         // immutable after done is closed
	stop       chan struct{} // closed by the reader that wants no more
	cur, rest  []byte        // of the reader
}

// feedFrames is how many frames wait for the reader.
const feedFrames = 8

func newFeed() *feed {
	return &feed{full: make(chan []byte, feedFrames), free: make(chan []byte, feedFrames+4), done: make(chan struct{}), stop: make(chan struct{})}
}

// buffer returns one of FrameSize.
func (f *feed) buffer() []byte {
	select {
	case b := <-f.free:
		return b[:cap(b)]
	default:
		return make([]byte, FrameSize)
	}
}

// reuse takes a buffer back.
func (f *feed) reuse(b []byte) {
	if cap(b) < FrameSize {
		return
	}
	select {
	case f.free <- b:
	default:
	}
}

var errNoReader = errors.New("the store has read all that it wants")

func (f *feed) put(ctx context.Context, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	select {
	case f.full <- b:
		return nil
	case <-f.stop:
		return errNoReader
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end closes the writing side; nil is the right end.
func (f *feed) end(err error) {
	f.err = err
	close(f.done)
}

// Read implements io.Reader for the store.
func (f *feed) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		f.reuse(f.cur)
		f.cur = nil
		select {
		case f.cur = <-f.full:
		default:
			select {
			case f.cur = <-f.full:
			case <-f.done:
				select { // it may have put a frame just before its end
				case f.cur = <-f.full:
				default:
					if f.err != nil {
						return 0, f.err
					}
					return 0, io.EOF
				}
			}
		}
		f.rest = f.cur
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// WriteTo spares a copy where the store uses io.Copy.
func (f *feed) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if len(f.rest) == 0 {
			if _, err := f.Read(nil); err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return n, err
			}
		}
		m, err := w.Write(f.rest)
		n += int64(m)
		f.rest = f.rest[m:]
		if err != nil {
			return n, err
		}
	}
}
