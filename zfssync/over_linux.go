package zfssync

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Where a snapshot is a copy, the second of two that are taken for a move costs only what has changed: a file that was not
// touched since the first one was begun is a hard link to the first one's copy. So what differs between the two is told
// by inodes alone, and travels as a tar of that (Snapshot.Over).
//
// A file was not touched when it is the same inode at the same name, and its ctime, which nobody can set, lies before the
// first snapshot was begun. Snapshots are never written to, so shared files in them are safe; a volume never
// shares a file with a snapshot: see dropSnapshot.

// travelPrefix begins the names of snapshots that are taken to travel, and dropped afterwards.
const travelPrefix = "sync-"

// touchedMargin is by how much a change must be older than the snapshot: clocks of file systems are coarse. Tests take less.
const touchedMargin = 2 * time.Second

// over is an older snapshot that the one that is being taken may share files with.
type over struct {
	snap namedSnap
	dir  string // its data
	root *os.Root
	inos map[string]uint64 // of the files that it copied, by name

	margin time.Duration
}

// overOf returns the snapshot that one called name can stand on, nil if there is none.
func (o *Overlay) overOf(obj Object, name string, list []namedSnap) (*over, error) {
	if obj.Kind != KindVolume || !strings.HasPrefix(name, travelPrefix) || len(list) == 0 {
		return nil, nil
	}
	last := list[len(list)-1]
	if !strings.HasPrefix(last.name, travelPrefix) || last.BegunAt.IsZero() {
		return nil, nil
	}
	inos, err := readInodes(filepath.Join(o.snap(obj, last.name), "inodes"))
	if err != nil {
		return nil, nil //nolint:nilerr // without it all is copied, which is right, too
	}
	b := &over{snap: last, dir: filepath.Join(o.snap(obj, last.name), "data"), inos: inos, margin: o.margin}
	if b.root, err = os.OpenRoot(b.dir); err != nil {
		return nil, err
	}
	return b, nil
}

// copyLive copies what lives into dir/data, and returns what the record of the snapshot says about it.
func (o *Overlay) copyLive(ctx context.Context, obj Object, name, live, dir string, list []namedSnap) (rec snapRecord, err error) {
	data := filepath.Join(dir, "data")
	if obj.Kind != KindVolume || !strings.HasPrefix(name, travelPrefix) {
		return rec, copyExact(ctx, live, data, true)
	}
	rec.BegunAt = time.Now().UTC()
	base, err := o.overOf(obj, name, list)
	if err != nil {
		return rec, err
	}
	if base != nil {
		rec.Over = base.snap.GUID
		defer base.root.Close()
	}
	index, err := os.Create(filepath.Join(dir, "inodes"))
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	lines := bufio.NewWriter(index)
	err = copyWith(ctx, packing{from: live, exact: true, live: true}, data, func(x *extractor, h *tar.Header, content *os.File) error {
		if isWhiteout(h) {
			rec.Over = "" // in a difference it would mean something else
		}
		if content == nil {
			return x.take(h, content)
		}
		info, err := content.Stat()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if _, err := fmt.Fprintf(lines, "%d %q\n", st.Ino, h.Name); err != nil {
			return err
		}
		if base.untouched(h.Name, st) && base.link(h.Name, filepath.Join(data, h.Name)) {
			return nil
		}
		return x.take(h, content)
	})
	return rec, errors.Join(err, lines.Flush())
}

// untouched reports whether the file at name is what the older snapshot has copied.
func (b *over) untouched(name string, st *syscall.Stat_t) bool {
	return b != nil && b.inos[name] == st.Ino && time.Unix(st.Ctim.Unix()).Before(b.snap.BegunAt.Add(-b.margin))
}

// link makes at another name of the older snapshot's file. false: it has to be copied.
func (b *over) link(name, at string) bool {
	f, err := b.root.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular() && linkFile(f, at) == nil
}

// linkFile gives an open file another name.
func linkFile(f *os.File, at string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, at, unix.AT_SYMLINK_FOLLOW)
}

// copyWith is copyEach, with a say in what becomes of each member.
func copyWith(ctx context.Context, from packing, to string, member func(*extractor, *tar.Header, *os.File) error) error {
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	x := unpacking{mode: keepDelta, devices: true}.extractor(root)
	defer x.near.leave()
	err = packTree(ctx, from, func(h *tar.Header, content *os.File) error { return member(x, h, content) })
	if err != nil {
		return err
	}
	return x.finish()
}

func readInodes(path string) (map[string]uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	inos := map[string]uint64{}
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return inos, nil
		}
		if err != nil {
			return nil, err
		}
		number, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		ino, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return nil, err
		}
		name, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		inos[name] = ino
	}
}

// sendOver writes what the snapshot in dir has that the one in base has not: first what is gone, as whiteouts, then all but the
// files that are the same inode in both.
func sendOver(ctx context.Context, dir, base string, w io.Writer) error {
	now, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer now.Close()
	was, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer was.Close()
	tw := tar.NewWriter(w)
	err = fs.WalkDir(was.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if _, err := now.Lstat(name); err == nil {
			return nil
		}
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeChar, Name: name, Mode: 0o600, Format: tar.FormatPAX}); err != nil {
			return err
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return err
	}
	buf := make([]byte, copySize)
	err = packTree(ctx, packing{from: dir, exact: true}, func(h *tar.Header, content *os.File) error {
		if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeLink {
			a, aerr := now.Lstat(h.Name)
			b, berr := was.Lstat(h.Name)
			if aerr == nil && berr == nil && b.Mode().IsRegular() && os.SameFile(a, b) {
				return nil
			}
		}
		if err := tw.WriteHeader(h); err != nil || content == nil {
			return err
		}
		_, err := io.CopyBuffer(struct{ io.Writer }{tw}, io.LimitReader(content, h.Size), buf)
		return err
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

// linkTree makes the empty directory to a copy of from that shares its files. Attributes of directories are left out: in a
// difference all directories come.
func linkTree(ctx context.Context, from, to string) error {
	return copyWith(ctx, packing{from: from, exact: true}, to, func(x *extractor, h *tar.Header, content *os.File) error {
		if content == nil {
			if h.Typeflag == tar.TypeDir {
				h.PAXRecords = nil
			}
			return x.take(h, content)
		}
		return linkFile(content, filepath.Join(to, h.Name))
	})
}

// shares reports whether a file below dir has names outside of it.
func shares(dir string) (bool, error) {
	type names struct{ all, here uint64 }
	seen := map[uint64]names{}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st := info.Sys().(*syscall.Stat_t); st.Nlink > 1 {
			n := seen[st.Ino]
			seen[st.Ino] = names{uint64(st.Nlink), n.here + 1} //nolint:unconvert // 32 bits on arm64
		}
		return nil
	})
	for _, n := range seen {
		if n.all > n.here {
			return true, err
		}
	}
	return false, err
}
