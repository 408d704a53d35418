package zfssync

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// isWhiteout reports whether a member is overlayfs's mark of a removed file.
func isWhiteout(h *tar.Header) bool {
	return h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0
}

// wantsNode says whether a device or fifo is taken.
func (x *extractor) wantsNode(h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return x.devices || x.mode != plainTree && isWhiteout(h)
	}
	return false
}

// node makes a device, fifo or whiteout.
func (x *extractor) node(h *tar.Header, at string) error {
	if h.Devmajor < 0 || h.Devmajor > 1<<31 || h.Devminor < 0 || h.Devminor > 1<<31 {
		return fmt.Errorf("device %d:%d is out of range", h.Devmajor, h.Devminor)
	}
	kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[h.Typeflag]
	dir, err := x.root.Open(path.Dir(at))
	if err != nil {
		return err
	}
	err = mknod(dir, path.Base(at), kind|0o600, h.Devmajor, h.Devminor)
	if err = errors.Join(err, dir.Close()); err != nil {
		return &os.PathError{Op: "mknod", Path: h.Name, Err: err}
	}
	if isWhiteout(h) {
		return nil
	}
	if err := x.root.Lchown(at, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := x.root.Chmod(at, h.FileInfo().Mode()); err != nil {
		return err
	}
	return x.root.Chtimes(at, h.ModTime, h.ModTime)
}
