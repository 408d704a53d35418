package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// Whiteouts of the OCI Image Layer Specification.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	metadata = ".wh..wh." // of aufs: nobody's files
)

// flatten writes the tar, packed by zstd, that the layers (lowest first, packed) make together. It writes lower layers
// first, so that hard links find what they link to.
func flatten(ctx context.Context, layers []string, to string, limits zfssync.Limits) (err error) {
	f := &flattener{limits: limits, hidden: map[string]bool{}, opaque: map[string]bool{}, seen: map[string]byte{}}
	keep := make([]map[int]string, len(layers))
	for i := len(layers) - 1; i >= 0; i-- {
		if keep[i], err = f.judge(ctx, layers[i]); err != nil {
			return err
		}
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	for i, l := range layers {
		if err := f.write(ctx, l, keep[i], w); err != nil {
			return errors.Join(err, z.Close())
		}
	}
	if err := w.Close(); err != nil {
		return errors.Join(err, z.Close())
	}
	return z.Close()
}

// flattener knows what upper layers have done; it is fed from the top.
type flattener struct {
	limits  zfssync.Limits
	entries int64
	hidden  map[string]bool // whited out: the path and all below it
	opaque  map[string]bool // directories of which lower layers show nothing
	seen    map[string]byte // typeflag of what an upper layer has at the path
}

// walk calls do for each member, with its clean name.
func (f *flattener) walk(ctx context.Context, layer string, do func(n int, name string, h *tar.Header, r io.Reader) error) error {
	file, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer file.Close()
	r, done, err := zfssync.Unpack(file, f.limits)
	if err != nil {
		return malformed(err)
	}
	defer done()
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return malformed(err)
		}
		name := path.Clean(strings.TrimPrefix(strings.TrimPrefix(h.Name, "./"), "/")) // some builders write /etc/passwd
		if !fs.ValidPath(name) {
			return &bundle.Refusal{Reason: bundle.Escape, Text: fmt.Sprintf("member %.200q leads out of the archive", h.Name)}
		}
		if err := do(n, name, h, tr); err != nil {
			return err
		}
	}
}

func malformed(err error) error {
	reason := bundle.Malformed
	if errors.Is(err, zfssync.ErrTooMuch) {
		reason = bundle.Bomb
	}
	return &bundle.Refusal{Reason: reason, Text: fmt.Sprintf("a layer cannot be read: %v", err)}
}

// judge says which members of the layer show, by their number and under which name they are written, and remembers
// what they hide of the layers below.
//
// A file that does not show may still be what hard links of its layer link to: then the first such link is written in
// its place.
func (f *flattener) judge(ctx context.Context, layer string) (map[int]string, error) {
	keep := map[int]string{}
	hidden, opaques, seen := []string{}, []string{}, map[string]byte{}
	number := map[string]int{} // of files that do not show
	heir := map[string]string{}
	err := f.walk(ctx, layer, func(n int, name string, h *tar.Header, _ io.Reader) error {
		if f.entries++; f.entries > f.limits.Entries {
			return &bundle.Refusal{Reason: bundle.Bomb, Text: fmt.Sprintf("the layers have more than %d members", f.limits.Entries)}
		}
		dir, base := path.Split(name)
		dir = path.Clean(dir)
		switch {
		case base == opaque:
			opaques = append(opaques, dir)
			return nil
		case strings.HasPrefix(base, metadata):
			return nil
		case strings.HasPrefix(base, whiteout):
			hidden = append(hidden, path.Join(dir, base[len(whiteout):]))
			return nil
		case h.Typeflag == tar.TypeXGlobalHeader:
			return nil
		}
		seen[name] = h.Typeflag
		if !f.shows(name) {
			if h.Typeflag == tar.TypeReg {
				number[name] = n
			}
			return nil
		}
		if h.Typeflag == tar.TypeLink {
			target := path.Clean(strings.TrimPrefix(strings.TrimPrefix(h.Linkname, "./"), "/"))
			if at, lost := number[target]; lost && heir[target] == "" {
				heir[target] = name
				keep[at] = name
				return nil
			}
		}
		keep[n] = name
		return nil
	})
	for _, h := range hidden {
		f.hidden[h] = true
	}
	for _, o := range opaques {
		f.opaque[o] = true
	}
	for name, kind := range seen {
		f.seen[name] = kind
	}
	return keep, err
}

// shows reports whether upper layers leave a path visible.
func (f *flattener) shows(name string) bool {
	if _, again := f.seen[name]; again || f.hidden[name] {
		return false
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		kind, known := f.seen[dir]
		if f.hidden[dir] || f.opaque[dir] || known && kind != tar.TypeDir {
			return false
		}
		if dir == "." {
			return true
		}
	}
}

func (f *flattener) write(ctx context.Context, layer string, keep map[int]string, w *tar.Writer) error {
	moved := map[string]string{} // files that are written under the name of a link to them
	return f.walk(ctx, layer, func(n int, name string, h *tar.Header, r io.Reader) error {
		as, ok := keep[n]
		if !ok {
			return nil
		}
		if as != name {
			moved[name] = as
		}
		out := *h
		if out.Name = as; h.Typeflag == tar.TypeDir && as != "." {
			out.Name += "/"
		}
		if h.Typeflag == tar.TypeLink {
			out.Linkname = path.Clean(strings.TrimPrefix(strings.TrimPrefix(h.Linkname, "./"), "/"))
			if to := moved[out.Linkname]; to != "" {
				out.Linkname = to
			}
		}
		if out.Format = tar.FormatPAX; out.Typeflag == tar.TypeGNUSparse {
			out.Typeflag = tar.TypeReg // the reader fills the holes
		}
		if err := w.WriteHeader(&out); err != nil {
			return fmt.Errorf("member %.200q: %w", h.Name, err)
		}
		if out.Typeflag != tar.TypeReg {
			return nil
		}
		if _, err := io.Copy(w, r); err != nil {
			return malformed(err)
		}
		return nil
	})
}
