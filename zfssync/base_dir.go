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
	"time"
)

// copyTree makes a base out of a directory of the host: as if it were packed by tar (one file system, skip left out) and
// unpacked by extractTar, whose checks it so passes.
func copyTree(ctx context.Context, from, to string, skip []string, limits Limits, progress Progress) error {
	return copyEach(ctx, packing{from: from, skip: skip}, to, unpacking{limits: limits, progress: progress})
}

// copyExact copies a directory of ours with all that it holds. Where the file system shares blocks between files, it
// does so here (copy_file_range(2)). live: files may change and vanish meanwhile.
func copyExact(ctx context.Context, from, to string, live bool) error {
	return copyEach(ctx, packing{from: from, exact: true, live: live}, to, unpacking{mode: keepDelta, devices: true})
}

func copyEach(ctx context.Context, from packing, to string, into unpacking) error {
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	x := into.extractor(root)
	defer x.near.leave()
	if err := packTree(ctx, from, x.take); err != nil {
		return err
	}
	return x.finish()
}

// writeTar packs a directory in order of names: the same content gives the same bytes.
func writeTar(ctx context.Context, from packing, w io.Writer) error {
	tw := tar.NewWriter(w)
	buf := make([]byte, copySize)
	err := packTree(ctx, from, func(h *tar.Header, content *os.File) error {
		if err := tw.WriteHeader(h); err != nil || content == nil {
			return err
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{tw}, io.LimitReader(content, h.Size), buf)
		if err == nil && n < h.Size {
			err = io.EOF // as io.CopyN says it: the file became shorter
		}
		return err
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

// copySize is how much of a file goes through us at once.
const copySize = 256 << 10

// fill writes the content of one file. Between two files the kernel copies by itself (copy_file_range(2)); out of an
// archive io.Copy would take a new buffer, and a small one, for each file.
func (x *extractor) fill(f *os.File, content io.Reader) (int64, error) {
	if _, ok := content.(*os.File); ok {
		return io.Copy(f, content)
	}
	if x.buf == nil {
		x.buf = make([]byte, copySize)
	}
	return io.CopyBuffer(struct{ io.Writer }{f}, content, x.buf)
}

// packing says what to pack.
type packing struct {
	from  string
	skip  []string // directories of the host that are left out
	exact bool     // devices, fifos and every attribute too; else only what makes a base
	live  bool     // what vanishes meanwhile was never there
}

type treePacker struct {
	packing
	root  *os.Root
	emit  func(h *tar.Header, content *os.File) error
	dev   uint64
	links map[uint64]string // inode -> first name
}

// packTree emits what is in a directory, on its file system, parents first and names in order. content is nil but for
// regular files.
func packTree(ctx context.Context, what packing, emit func(h *tar.Header, content *os.File) error) error {
	root, err := os.OpenRoot(what.from)
	if err != nil {
		return err
	}
	defer root.Close()
	top, err := root.Stat(".")
	if err != nil {
		return err
	}
	place, err := filepath.EvalSymlinks(what.from)
	if err != nil {
		return err
	}
	p := &treePacker{packing: what, root: root, emit: emit, dev: top.Sys().(*syscall.Stat_t).Dev, links: map[uint64]string{}}
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if what.live && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if d.IsDir() && what.skips(filepath.Join(place, name)) {
			return fs.SkipDir
		}
		err = p.add(name, d)
		switch {
		case err == nil || errors.Is(err, fs.SkipDir):
			return err
		case what.live && errors.Is(err, fs.ErrNotExist):
			return nil
		}
		return fmt.Errorf("pack %s: %w", filepath.Join(what.from, name), err)
	})
}

func (w packing) skips(path string) bool {
	for _, s := range w.skip {
		if path == s {
			return true
		}
	}
	return false
}

func (p *treePacker) add(name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	odd := fs.ModeSocket
	if !p.exact {
		odd |= fs.ModeNamedPipe | fs.ModeDevice
	}
	if info.Mode()&odd != 0 {
		return nil
	}
	h, err := p.header(name, info)
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	if info.IsDir() {
		return p.addDir(h, st)
	}
	if st.Nlink > 1 && info.Mode().IsRegular() {
		if first, ok := p.links[st.Ino]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.emit(h, nil)
		}
		p.links[st.Ino] = name
	}
	if !info.Mode().IsRegular() {
		return p.emit(h, nil)
	}
	f, err := p.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.attributes(h, f); err != nil {
		return err
	}
	return p.emit(h, f)
}

func (p *treePacker) header(name string, info fs.FileInfo) (*tar.Header, error) {
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = p.root.Readlink(name); err != nil {
			return nil, err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return nil, err
	}
	st := info.Sys().(*syscall.Stat_t)
	h.Name, h.Format, h.Uname, h.Gname = name, tar.FormatPAX, "", ""
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{} // reading changes the first, and nobody can set the second: the same tree is the same tar
	h.Uid, h.Gid = int(st.Uid), int(st.Gid)
	return h, nil
}

func (p *treePacker) addDir(h *tar.Header, st *syscall.Stat_t) error {
	h.Name += "/"
	if p.exact {
		f, err := p.root.Open(h.Name)
		if err != nil {
			return err
		}
		err = p.attributes(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	if err := p.emit(h, nil); err != nil || st.Dev == p.dev {
		return err
	}
	return fs.SkipDir // a mount point: an empty directory in the copy
}

// attributes adds the extended attributes of f.
func (p *treePacker) attributes(h *tar.Header, f *os.File) error {
	all, err := xattrs(f)
	if err != nil {
		return err
	}
	for k, v := range all {
		if !p.exact && k != capabilityXattr {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrPrefix+k] = v
	}
	return nil
}
