package zfssync

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
	"time"
)

// xattrPrefix is how tar (PAX) names an extended attribute.
const xattrPrefix = "SCHILY.xattr."

// extractTar unpacks a root file system into the empty directory dst, with owners, modes, times and file capabilities.
//
// Refused, with an error: members and hard links that lead out of the archive, links that climb above its root, more
// than limits. Left out, and told to progress: device nodes, fifos, attributes of overlayfs itself; a jail's /dev is
// made at its start.
func extractTar(ctx context.Context, r io.Reader, dst string, limits Limits, progress Progress) error {
	return unpackTar(ctx, r, dst, unpacking{limits: limits, progress: progress})
}

// unpackMode says what becomes of a delta's whiteouts and opaque directories.
type unpackMode int

const (
	plainTree  unpackMode = iota // they are not wanted: left out
	keepDelta                    // they stay what they are, for overlayfs
	applyDelta                   // they remove what dst has there
)

type unpacking struct {
	mode     unpackMode
	devices  bool // take device nodes and fifos
	limits   Limits
	progress Progress
}

func (u unpacking) extractor(root *os.Root) *extractor {
	if u.progress == nil {
		u.progress = func(string) {}
	}
	return &extractor{unpacking: u, root: root, count: tally{limits: u.limits.withDefaults()}}
}

// unpackTar is extractTar for every kind of tree. An empty archive is an error where a root file system is wanted.
func unpackTar(ctx context.Context, r io.Reader, dst string, u unpacking) error {
	root, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer root.Close()
	x := u.extractor(root)
	defer x.near.leave()
	tr := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := x.count.add(h.Size); err != nil {
			return err
		}
		if err := x.member(h, tr); err != nil {
			return fmt.Errorf("archive member %q: %w", h.Name, err)
		}
	}
	if x.count.entries == 0 {
		return errors.New("the archive is empty")
	}
	return x.finish()
}

type extractor struct {
	unpacking
	root    *os.Root
	near    near
	count   tally
	skipped int
	dirs    []dirTime // set at the end, because filling a directory changes its time
	buf     []byte    // between archive and file
}

// take is member for a tree that is packed in this process.
func (x *extractor) take(h *tar.Header, content *os.File) error {
	if content == nil { // a nil *os.File would be no nil io.Reader
		return x.member(h, nil)
	}
	return x.member(h, content)
}

type dirTime struct {
	name string
	at   time.Time
}

func (x *extractor) member(h *tar.Header, content io.Reader) error {
	name := path.Clean(strings.TrimPrefix(h.Name, "./"))
	if !fs.ValidPath(name) {
		return errors.New("it leads out of the archive: refused")
	}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > 1<<32-2 || int64(h.Gid) > 1<<32-2 {
		return fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
	case tar.TypeXGlobalHeader:
		return nil
	default:
		if !x.wantsNode(h) {
			x.skip(h)
			return nil
		}
	}
	if x.inReach(h, name) {
		return x.file(h, path.Base(name), content)
	}
	x.near.leave()
	at, err := resolveParent(x.root, name)
	if err != nil {
		return err
	}
	if err := x.root.MkdirAll(path.Dir(at), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return x.dir(h, at)
	case tar.TypeReg:
		if err := x.near.enter(x.root, path.Dir(name), path.Dir(at)); err != nil {
			return err
		}
		return x.file(h, path.Base(at), content)
	}
	if err := x.makeRoom(x.root, at); err != nil {
		return err
	}
	if isWhiteout(h) && x.mode == applyDelta {
		return nil // what it removes is gone
	}
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return x.node(h, at)
	case tar.TypeSymlink:
		if climbs(name, h.Linkname) {
			return fmt.Errorf("link to %q climbs out of the archive: refused", h.Linkname)
		}
		if err := x.root.Symlink(h.Linkname, at); err != nil {
			return err
		}
		return x.root.Lchown(at, h.Uid, h.Gid)
	}
	return x.hardLink(h, at)
}

// skip leaves a member out, and says so: the first ones by name.
func (x *extractor) skip(h *tar.Header) {
	if x.skipped++; x.skipped <= 20 {
		x.progress(fmt.Sprintf("left out %s: device nodes and fifos are not taken", h.Name))
	}
}

// makeRoom removes what a member replaces.
func (x *extractor) makeRoom(root *os.Root, at string) error {
	info, err := root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() && x.mode == applyDelta {
		return root.RemoveAll(at)
	}
	if info.IsDir() {
		return errors.New("it stands where a directory is")
	}
	return root.Remove(at)
}

func (x *extractor) dir(h *tar.Header, at string) error {
	opaque := h.PAXRecords[xattrPrefix+opaqueXattr] == "y"
	if info, err := x.root.Lstat(at); err == nil && x.mode == applyDelta && at != "." && (opaque || !info.IsDir()) {
		if err := x.root.RemoveAll(at); err != nil {
			return err
		}
	}
	if err := x.root.Mkdir(at, 0o755); err != nil {
		info, serr := x.root.Lstat(at)
		if !errors.Is(err, fs.ErrExist) || serr != nil || !info.IsDir() {
			return err
		}
	}
	x.dirs = append(x.dirs, dirTime{at, h.ModTime})
	if err := x.root.Lchown(at, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := x.root.Chmod(at, h.FileInfo().Mode()); err != nil || x.mode == plainTree {
		return err
	}
	f, err := x.root.Open(at)
	if err != nil {
		return err
	}
	return errors.Join(x.attributes(h, f), f.Close())
}

// attributes sets those that this mode wants.
func (x *extractor) attributes(h *tar.Header, f *os.File) error {
	for k, v := range h.PAXRecords {
		a, ok := strings.CutPrefix(k, xattrPrefix)
		if !ok || !keptXattr(a) || a == opaqueXattr && (x.mode != keepDelta || h.Typeflag != tar.TypeDir) {
			continue
		}
		if err := setXattr(f, a, v); err != nil {
			return err
		}
	}
	return nil
}

func (x *extractor) hardLink(h *tar.Header, at string) error {
	old := path.Clean(strings.TrimPrefix(h.Linkname, "./"))
	if !fs.ValidPath(old) {
		return fmt.Errorf("hard link to %q leads out of the archive: refused", h.Linkname)
	}
	from, err := resolveParent(x.root, old)
	if err != nil {
		return err
	}
	return x.root.Link(from, at)
}

func (x *extractor) finish() error {
	for _, d := range x.dirs {
		if err := x.root.Chtimes(d.name, d.at, d.at); err != nil {
			return fmt.Errorf("set time of %s: %w", d.name, err)
		}
	}
	if x.skipped > 0 {
		x.progress(fmt.Sprintf("left out %d device nodes and fifos", x.skipped))
	}
	return nil
}

// climbs reports whether a relative link target, read as text, leaves the root.
func climbs(name, target string) bool {
	if strings.HasPrefix(target, "/") {
		return false // begins at the jail's root
	}
	depth := len(split(path.Dir(name)))
	if path.Dir(name) == "." {
		depth = 0
	}
	for _, part := range split(target) {
		switch part {
		case ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return true
		}
	}
	return false
}
