package zfssync

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// eachMember reads a packed context and refuses whatever PackContext would not have written.
func eachMember(packed io.Reader, limits Limits, fn func(m member, content io.Reader) error) error {
	limits = limits.withDefaults()
	r, done, err := decompress(packed, limits)
	if err != nil {
		return fmt.Errorf("build context: %w", err)
	}
	defer done()
	tr := tar.NewReader(r)
	count := tally{limits: limits}
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("build context: %w", err)
		}
		if err := count.add(h.Size); err != nil {
			return fmt.Errorf("build context: %w", err)
		}
		m := member{name: strings.TrimSuffix(h.Name, "/"), mode: h.FileInfo().Mode(), size: h.Size}
		if !fs.ValidPath(m.name) || m.name == "." || path.Clean(m.name) != m.name {
			return fmt.Errorf("build context: member %q leads out of it", h.Name)
		}
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeDir:
			m.size = 0
		case tar.TypeSymlink:
			m.link, m.size = h.Linkname, 0
		default:
			return fmt.Errorf("build context: member %s is neither a file, a directory nor a link", m.name)
		}
		if err := fn(m, tr); err != nil {
			return err
		}
	}
}
