package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// CopyOptions say what ApplyCopy takes from a packed context, where to, and for whom.
type CopyOptions struct {
	Src      []string // paths in the context, shell patterns allowed; "." is all of it
	Dst      string   // absolute path in the root; a trailing '/' says that it is a directory
	UID, GID int      // owner of everything that is made, as the host sees it: IDMap.HostBase for a mapped root
	Limits   Limits   // zero fields get DefaultLimits
}

// ApplyCopy copies from a packed context into the file system below rootFS, like COPY of a Dockerfile: a file to a
// file, a file into a directory, the content of a directory into a directory. Links in rootFS mean what they mean to the
// jail and cannot lead out of rootFS. Modes are kept. A file is replaced at once, never written through a link.
func ApplyCopy(ctx context.Context, rootFS string, packed io.Reader, o CopyOptions) error {
	root, err := os.OpenRoot(rootFS)
	if err != nil {
		return fmt.Errorf("copy to %s: %w", o.Dst, err)
	}
	defer root.Close()
	if !strings.HasPrefix(o.Dst, "/") {
		return fmt.Errorf("copy to %s: the target must be absolute", o.Dst)
	}
	c := &copier{ctx: ctx, root: root, o: o, kinds: map[string]bool{}}
	for _, s := range o.Src {
		s, err := cleanSource(s)
		if err != nil {
			return err
		}
		c.src = append(c.src, s)
	}
	if err := c.aim(); err != nil {
		return fmt.Errorf("copy to %s: %w", o.Dst, err)
	}
	if err := eachMember(packed, o.Limits, c.take); err != nil {
		return fmt.Errorf("copy to %s: %w", o.Dst, err)
	}
	if len(c.src) > 0 && !c.any && !(len(c.src) == 1 && c.src[0] == ".") {
		return fmt.Errorf("copy to %s: %s is not in the build context", o.Dst, strings.Join(o.Src, " "))
	}
	return nil
}

type copier struct {
	ctx     context.Context
	root    *os.Root
	o       CopyOptions
	src     []string
	intoDir bool            // a file goes below Dst
	kinds   map[string]bool // matched source -> it is a directory
	any     bool
}

// aim decides whether Dst is a directory, as far as that can be known before the first member.
func (c *copier) aim() error {
	c.intoDir = strings.HasSuffix(c.o.Dst, "/") || len(c.src) > 1 || len(c.src) == 1 && strings.ContainsAny(c.src[0], "*?[")
	at, err := resolve(c.root, c.o.Dst)
	if err != nil {
		return err
	}
	info, err := c.root.Stat(at)
	switch {
	case err == nil && info.IsDir():
		c.intoDir = true
	case err == nil && c.intoDir:
		return errors.New("it is a file, and has to be a directory")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// take copies m to every place where a source wants it.
func (c *copier) take(m member, content io.Reader) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	for _, s := range c.src {
		matched, rest, ok := matchSource(s, m.name)
		if !ok {
			continue
		}
		c.any = true
		if rest == "" && m.mode.IsDir() {
			c.kinds[matched] = true
			return c.mkdirAll(c.o.Dst)
		}
		dst := c.o.Dst
		switch {
		case c.kinds[matched] || s == ".":
			dst = path.Join(c.o.Dst, rest)
		case rest != "":
			return fmt.Errorf("member %s comes before its directory %s", m.name, matched)
		case c.intoDir:
			dst = path.Join(c.o.Dst, path.Base(m.name))
		}
		// One member, one place: the first source that names it. Naming it twice would only write it twice.
		if err := c.put(m, content, dst); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		return nil
	}
	return nil
}

// matchSource reports whether name is src or below it. matched is the part of name that src stands for.
func matchSource(src, name string) (matched, rest string, ok bool) {
	if src == "." {
		return ".", name, true
	}
	if name == src {
		return name, "", true
	}
	if rest, ok := strings.CutPrefix(name, src+"/"); ok {
		return src, rest, true
	}
	want, got := split(src), split(name)
	if len(got) < len(want) || !strings.ContainsAny(src, "*?[") || !matchParts(want, got[:len(want)]) {
		return "", "", false
	}
	return path.Join(got[:len(want)]...), path.Join(got[len(want):]...), true
}

func (c *copier) put(m member, content io.Reader, dst string) error {
	if m.mode.IsDir() {
		if err := c.mkdirAll(dst); err != nil {
			return err
		}
		at, err := resolve(c.root, dst)
		if err != nil {
			return err
		}
		if err := c.root.Lchown(at, c.o.UID, c.o.GID); err != nil {
			return err
		}
		return c.root.Chmod(at, m.mode)
	}
	if err := c.mkdirAll(path.Dir(dst)); err != nil {
		return err
	}
	at, err := resolveParent(c.root, dst)
	if err != nil {
		return err
	}
	if info, err := c.root.Lstat(at); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory in the image", dst)
	}
	tmp := path.Join(path.Dir(at), ".rexcarcer-copy")
	if err := c.root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := c.write(tmp, m, content); err != nil {
		return errors.Join(err, c.root.RemoveAll(tmp))
	}
	return c.root.Rename(tmp, at)
}

func (c *copier) write(at string, m member, content io.Reader) error {
	if m.link != "" {
		if err := c.root.Symlink(m.link, at); err != nil {
			return err
		}
		return c.root.Lchown(at, c.o.UID, c.o.GID)
	}
	f, err := c.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chown(c.o.UID, c.o.GID)
	}
	if err == nil {
		err = f.Chmod(m.mode) // after chown, which clears setuid
	}
	return errors.Join(err, f.Close())
}

// mkdirAll makes the directories that p needs, with the owner of the copy, following links as the jail would.
func (c *copier) mkdirAll(p string) error {
	at, err := resolve(c.root, p)
	if err != nil {
		return err
	}
	cur := ""
	for _, part := range split(at) {
		if part == "." {
			continue
		}
		cur = path.Join(cur, part)
		err := c.root.Mkdir(cur, 0o755)
		if errors.Is(err, fs.ErrExist) {
			if info, serr := c.root.Lstat(cur); serr != nil || !info.IsDir() {
				return fmt.Errorf("/%s is not a directory in the image", cur)
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := c.root.Lchown(cur, c.o.UID, c.o.GID); err != nil {
			return err
		}
		if err := c.root.Chmod(cur, 0o755); err != nil { // whatever our umask is
			return err
		}
	}
	return nil
}
