package zfssync

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// copyTree makes a base out of a directory of the host: as if it were packed by tar (one file system, skip left out) and
// unpacked by extractTar, whose checks it so passes.
func copyTree(ctx context.Context, from, to, skip string, limits Limits, progress Progress) error {
	pr, pw := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := packTree(ctx, from, skip, pw)
		packed <- err
		_ = pw.CloseWithError(err)
	}()
	err := extractTar(ctx, pr, to, limits, progress)
	_ = pr.CloseWithError(errors.New("reader gave up"))
	if perr := <-packed; err == nil && perr != nil {
		err = perr
	}
	return err
}

type treePacker struct {
	root  *os.Root
	tw    *tar.Writer
	dev   uint64
	links map[uint64]string // inode -> first name
}

func packTree(ctx context.Context, from, skip string, w io.Writer) error {
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer root.Close()
	top, err := root.Stat(".")
	if err != nil {
		return err
	}
	place, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	p := &treePacker{root: root, tw: tar.NewWriter(w), dev: top.Sys().(*syscall.Stat_t).Dev, links: map[uint64]string{}}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if d.IsDir() && filepath.Join(place, name) == skip {
			return fs.SkipDir
		}
		if err := p.add(name, d); err != nil && !errors.Is(err, fs.SkipDir) {
			return fmt.Errorf("pack %s: %w", filepath.Join(from, name), err)
		} else if err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.tw.Close()
}

func (p *treePacker) add(name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	if info.Mode()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice) != 0 {
		return nil
	}
	st := info.Sys().(*syscall.Stat_t)
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = p.root.Readlink(name); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Format, h.Uname, h.Gname = name, tar.FormatPAX, "", ""
	h.Uid, h.Gid = int(st.Uid), int(st.Gid)
	if info.IsDir() {
		h.Name += "/"
		if err := p.tw.WriteHeader(h); err != nil || st.Dev == p.dev {
			return err
		}
		return fs.SkipDir // a mount point: an empty directory in the copy
	}
	if st.Nlink > 1 && info.Mode().IsRegular() {
		if first, ok := p.links[st.Ino]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.tw.WriteHeader(h)
		}
		p.links[st.Ino] = name
	}
	if !info.Mode().IsRegular() {
		return p.tw.WriteHeader(h)
	}
	f, err := p.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	caps, err := capability(f)
	if err != nil {
		return err
	}
	if caps != "" {
		h.PAXRecords = map[string]string{xattrPrefix + "security.capability": caps}
	}
	if err := p.tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(p.tw, f, h.Size)
	return err
}
