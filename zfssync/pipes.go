package zfssync

import (
	"errors"
	"io"
)

// pipeSize is what the kernel shall keep between zfs(8) and us: a stream then changes hands less often.
const pipeSize = 1 << 20

// inlet is the standard input of a zfs(8). It remembers the reader's own error: zfs(8) would only say that the stream ended
// too soon.
type inlet struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (i *inlet) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		i.err = err
	}
	return n, err
}

// WriteTo is what os/exec uses: w is the pipe.
func (i *inlet) WriteTo(w io.Writer) (int64, error) {
	widen(w)
	out := &sink{w: w}
	n, err := io.Copy(out, i.r)
	if err != nil && out.err == nil {
		i.err = err
	}
	return n, err
}

// sink remembers that it was the writer who failed, and hides what it can besides.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}

// outlet is the standard output of a zfs(8).
type outlet struct{ io.Writer }

// ReadFrom is what os/exec uses: r is the pipe.
func (o outlet) ReadFrom(r io.Reader) (int64, error) {
	widen(r)
	return io.Copy(o.Writer, r)
}
