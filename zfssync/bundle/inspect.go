package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Contents are what Inspect counted.
type Contents struct {
	Entries int64
	Bytes   int64 // of all members together
}

// devices are the nodes that a root file system may bring along. They are left out when it is unpacked: a jail's /dev is
// made at its start. A node of any other name has no business in a base.
var devices = map[string]bool{
	"dev/null": true, "dev/zero": true, "dev/full": true, "dev/random": true, "dev/urandom": true, "dev/tty": true,
	"dev/console": true, "dev/ptmx": true, "dev/pts/ptmx": true, "dev/stdin": true, "dev/stdout": true, "dev/stderr": true,
}

// Inspect reads a packed tar to its end and writes nothing. It refuses what would not be safe to unpack, or would fill
// the disk: see Bomb, Escape, Device and TrailingData. name is for errors, which are of type *Refusal, or ctx's, or a
// read error.
func Inspect(ctx context.Context, name string, packed io.Reader, limits zfssync.Limits) (Contents, error) {
	limits = limits.WithDefaults()
	src := &source{r: packed}
	r, done, err := zfssync.Unpack(src, limits)
	if err != nil {
		return Contents{}, src.or(refuse(name, Malformed, "%v", err))
	}
	defer done()
	var c Contents
	tr := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return c, src.or(malformed(name, err))
		}
		c.Entries++
		c.Bytes += max(h.Size, 0)
		if err := judge(name, h, c, limits); err != nil {
			return c, err
		}
		if _, err := io.Copy(io.Discard, tr); err != nil {
			return c, src.or(malformed(name, err))
		}
	}
	if c.Entries == 0 {
		return c, refuse(name, Malformed, "the archive is empty")
	}
	return c, src.or(trailer(name, r))
}

// source remembers a failure of the file itself: that is no reason to blame its maker.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (s *source) or(err error) error {
	if s.err != nil {
		return s.err
	}
	return err
}

func malformed(name string, err error) error {
	if errors.Is(err, zfssync.ErrTooMuch) {
		return refuse(name, Bomb, "%v", err)
	}
	return refuse(name, Malformed, "the archive cannot be read: %v", err)
}

func judge(name string, h *tar.Header, c Contents, limits zfssync.Limits) error {
	switch {
	case c.Entries > limits.Entries:
		return refuse(name, Bomb, "the archive has more than %d members", limits.Entries)
	case c.Bytes > limits.Bytes:
		return refuse(name, Bomb, "the archive unpacks to more than %d bytes", limits.Bytes)
	case h.Typeflag == tar.TypeXGlobalHeader:
		return nil
	}
	at := path.Clean(strings.TrimPrefix(h.Name, "./"))
	if !fs.ValidPath(at) || strings.Contains(h.Name, "\x00") {
		return refuse(name, Escape, "member %.200q leads out of the archive", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeLink:
		if !fs.ValidPath(path.Clean(strings.TrimPrefix(h.Linkname, "./"))) {
			return refuse(name, Escape, "member %.200q is a hard link to %.200q, out of the archive", h.Name, h.Linkname)
		}
	case tar.TypeSymlink:
		if zfssync.LinkClimbs(at, h.Linkname) {
			return refuse(name, Escape, "member %.200q links to %.200q, above the root", h.Name, h.Linkname)
		}
	case tar.TypeChar, tar.TypeBlock:
		if !devices[at] {
			return refuse(name, Device, "member %.200q is a device node", h.Name)
		}
	}
	return nil
}

// trailer wants nothing but the zeros with which tar fills its last record.
func trailer(name string, r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return refuse(name, TrailingData, "bytes follow the end of the archive")
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if errors.Is(err, zfssync.ErrTooMuch) {
				return refuse(name, Bomb, "%v", err)
			}
			return refuse(name, TrailingData, "what follows the end of the archive cannot be read: %v", err)
		}
	}
}
