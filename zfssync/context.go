package zfssync

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// member is one file of a build context.
type member struct {
	name string // slash path below the context
	mode fs.FileMode
	size int64
	link string // target of a symbolic link
}

// perm returns what counts of a mode: permissions, setuid, setgid, sticky; as tar and chmod(2) number them.
func (m member) perm() int64 {
	p := int64(m.mode.Perm())
	for _, b := range []struct {
		flag fs.FileMode
		bit  int64
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m.mode&b.flag != 0 {
			p |= b.bit
		}
	}
	return p
}

// CopyDigest returns the canonical digest ("sha256:<hex>") of what COPY takes from a build context: paths, modes,
// content and link targets of src ("." is all of it), less what .rexignore leaves out. Owners and times do not count.
// It equals what PackContext returns for the same src.
func CopyDigest(root *os.Root, src []string) (string, error) {
	return walkContext(root, src, nil)
}

// PackContext writes the context beneath root (src: paths in it, shell patterns allowed; "." is all) as a
// zstd-compressed tar, the same bytes for the same content, and returns its digest "sha256:<hex>", which is about the
// content and not about the compression (see ContextDigest). Nothing outside root is read: a link inside a directory is
// packed as a link, and a src that is a link is refused.
func PackContext(root *os.Root, src []string, w io.Writer) (digest string, err error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return "", fmt.Errorf("pack build context: %w", err)
	}
	tw := tar.NewWriter(z)
	digest, err = walkContext(root, src, tw)
	if err != nil {
		return "", errors.Join(err, z.Close())
	}
	if err := errors.Join(tw.Close(), z.Close()); err != nil {
		return "", fmt.Errorf("pack build context: %w", err)
	}
	return digest, nil
}

// ContextDigest returns what CopyDigest gave for src, from a packed context: for whoever received the bytes, and must
// not cache one content under the digest of another.
func ContextDigest(packed io.Reader, src []string, limits Limits) (string, error) {
	var clean []string
	for _, s := range src {
		s, err := cleanSource(s)
		if err != nil {
			return "", err
		}
		clean = append(clean, s)
	}
	d := newContextDigest()
	err := eachMember(packed, limits, func(m member, content io.Reader) error {
		for _, s := range clean {
			if _, _, ok := matchSource(s, m.name); ok {
				d.begin(m)
				_, err := io.Copy(d.h, content)
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return d.sum(), nil
}

func walkContext(root *os.Root, src []string, tw *tar.Writer) (string, error) {
	members, err := listContext(root, src)
	if err != nil {
		return "", err
	}
	d := newContextDigest()
	for _, m := range members {
		d.begin(m)
		if err := packMember(root, m, d.h, tw); err != nil {
			return "", fmt.Errorf("pack %s: %w", m.name, err)
		}
	}
	return d.sum(), nil
}

// packMember writes one member to the digest, and to tw unless it is nil.
func packMember(root *os.Root, m member, digest io.Writer, tw *tar.Writer) error {
	if tw != nil {
		h := &tar.Header{Name: m.name, Mode: m.perm(), Size: m.size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		switch {
		case m.mode.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, m.name+"/"
		case m.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, m.link
		default:
			h.Typeflag = tar.TypeReg
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		digest = io.MultiWriter(digest, tw)
	}
	if !m.mode.IsRegular() {
		return nil
	}
	f, err := root.Open(m.name)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(digest, io.LimitReader(f, m.size))
	if err != nil {
		return err
	}
	if extra, _ := f.Read(make([]byte, 1)); n != m.size || extra != 0 {
		return errors.New("it changed while it was read: try again")
	}
	return nil
}

// listContext returns the members of all src, sorted, so that a directory comes before what is in it.
func listContext(root *os.Root, src []string) ([]member, error) {
	rules, err := readIgnore(root)
	if err != nil {
		return nil, err
	}
	found := map[string]member{}
	for _, s := range src {
		s, err := cleanSource(s)
		if err != nil {
			return nil, err
		}
		names, err := expand(root, s)
		if err != nil {
			return nil, fmt.Errorf("COPY %s: %w", s, err)
		}
		hits := 0
		for _, n := range names {
			if n != "." && ignored(rules, n) {
				continue
			}
			hits++
			if err := addTree(root, n, rules, found); err != nil {
				return nil, fmt.Errorf("COPY %s: %w", s, err)
			}
		}
		if hits == 0 {
			return nil, fmt.Errorf("COPY %s: no such file in the build context %s (or %s leaves it out)", s, root.Name(), ignoreFile)
		}
	}
	members := make([]member, 0, len(found))
	for _, m := range found {
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return members, nil
}

// cleanSource refuses what points out of the context before anything is opened.
func cleanSource(s string) (string, error) {
	c := path.Clean(strings.TrimPrefix(strings.ReplaceAll(s, "\\", "/"), "/"))
	if !fs.ValidPath(c) {
		return "", fmt.Errorf("COPY %s: it leads out of the build context: copy what you need into the context first", s)
	}
	return c, nil
}

// expand returns what a source with shell patterns stands for.
func expand(root *os.Root, s string) ([]string, error) {
	if _, err := root.Lstat(s); err == nil || !strings.ContainsAny(s, "*?[") {
		return []string{s}, nil
	}
	names, err := fs.Glob(root.FS(), s)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	return names, nil
}

// addTree adds name, and all below it when it is a directory. A link is no source: what it names would have to be read in
// its place, and inside a directory it is packed as the link that it is.
func addTree(root *os.Root, name string, rules []ignoreRule, found map[string]member) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no such file in the build context %s", root.Name())
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("%s is a link: name what it points to", name)
	}
	return fs.WalkDir(root.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p != "." && ignored(rules, p) {
			// A rule with '!' may take something below it in again, so the walk goes on.
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		m := member{name: p, mode: info.Mode()}
		switch {
		case info.IsDir():
			if p == "." {
				return nil
			}
		case info.Mode().IsRegular():
			m.size = info.Size()
		case info.Mode()&fs.ModeSymlink != 0:
			if m.link, err = root.Readlink(p); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is neither a file, a directory nor a link: list it in %s", p, ignoreFile)
		}
		found[p] = m
		return nil
	})
}

// contextDigest hashes members in order, each with its length, so that no two lists look alike.
type contextDigest struct{ h hash.Hash }

func newContextDigest() contextDigest {
	d := contextDigest{sha256.New()}
	fmt.Fprint(d.h, "rexcarcer context 1\n")
	return d
}

// begin must be followed by exactly m.size bytes of content.
func (d contextDigest) begin(m member) {
	kind := "file"
	switch {
	case m.mode.IsDir():
		kind = "dir"
	case m.link != "":
		kind = "link"
	}
	perm := m.perm()
	if kind == "link" {
		perm = 0 // it has none on Linux, and others disagree
	}
	fmt.Fprintf(d.h, "\n%s %o %d %q %q\n", kind, perm, m.size, m.name, m.link)
}

func (d contextDigest) sum() string { return keyPrefix + hex.EncodeToString(d.h.Sum(nil)) }
