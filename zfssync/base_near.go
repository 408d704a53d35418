package zfssync

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
)

// near is the directory of the member before, open: files come in order of their names, and to find, for each of a thousand
// files, the directory that they are in costs more than to make them.
type near struct {
	name string   // as archives write it
	root *os.Root // nil: none
}

// leave closes the directory. Whoever may change what its name means calls it first.
func (n *near) leave() {
	if n.root != nil {
		_ = n.root.Close() // it was only read
		n.root = nil
	}
}

// enter makes at, the resolved name of the directory dir, the near one.
func (n *near) enter(root *os.Root, dir, at string) error {
	n.leave()
	sub, err := root.OpenRoot(at)
	if err != nil {
		return err
	}
	n.name, n.root = dir, sub
	return nil
}

// inReach reports whether the directory of a member is open.
func (x *extractor) inReach(h *tar.Header, name string) bool {
	return h.Typeflag == tar.TypeReg && x.near.root != nil && x.near.name == path.Dir(name)
}

// file makes a regular file in the near directory.
func (x *extractor) file(h *tar.Header, base string, content io.Reader) error {
	f, err := x.near.root.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err := x.makeRoom(x.near.root, base); err != nil {
			return err
		}
		f, err = x.near.root.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return err
	}
	n, err := x.fill(f, content)
	if _, grows := content.(*os.File); err == nil && n != h.Size && !grows { // a file that is copied live may change
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = f.Chown(h.Uid, h.Gid)
	}
	if err == nil {
		err = f.Chmod(h.FileInfo().Mode()) // after chown, which clears setuid
	}
	if err == nil {
		err = x.attributes(h, f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return x.near.root.Chtimes(base, h.ModTime, h.ModTime)
}
