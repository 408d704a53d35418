package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/internal/zfstest"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// openOverlay opens a real store.
func openOverlay(t testing.TB, dir string) zfssync.Store {
	t.Helper()
	testenv.RequireRoot(t)
	s, err := zfssync.OpenOverlay(zfssync.Config{Dir: dir, Runner: run.Real{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

// openZFS opens a real store on a pool of its own.
func openZFS(t testing.TB, dir string) zfssync.Store {
	t.Helper()
	return openDataset(t, dir, zfstest.Pool(t, 256<<20)+"/rex")
}

func openDataset(t testing.TB, dir, dataset string) zfssync.Store {
	t.Helper()
	c := zfssync.Config{Dir: dir, Dataset: dataset, Instance: "transfer", Runner: run.Real{}}
	s, err := zfssync.OpenZFS(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

// onEach runs a test with two stores of each driver.
func onEach(t *testing.T, test func(t *testing.T, there, here zfssync.Store)) {
	t.Helper()
	t.Run("overlay", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		test(t, openOverlay(t, dir+"/there"), openOverlay(t, dir+"/here"))
	})
	t.Run("zfs", func(t *testing.T) {
		if !zfstest.Isolated(t) {
			return
		}
		dir := t.TempDir()
		test(t, openZFS(t, dir+"/there"), openZFS(t, dir+"/here"))
	})
}

func closeStore(t testing.TB, s zfssync.Store) {
	t.Helper()
	if err := errors.Join(s.Teardown(context.Background()), s.Close()); err != nil {
		t.Error(err)
	}
}

// files makes a tree below dir.
func files(t testing.TB, dir string, content map[string][]byte) {
	t.Helper()
	for name, b := range content {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// makeTree makes what realImage has for a base, and returns where.
func makeTree(t testing.TB, size int) string {
	t.Helper()
	tree := t.TempDir()
	files(t, tree, map[string][]byte{
		"etc/motd": []byte("base\n"), "usr/bin/tool": []byte("#!/bin/sh\n"), "usr/lib/big": noise(1, size), "srv/gone/x": nil, "srv/again/old": nil,
	})
	err := errors.Join(os.Chmod(tree+"/usr/bin/tool", 0o4755), os.Lchown(tree+"/etc/motd", 7, 8), os.Symlink("../etc/motd", tree+"/usr/motd"),
		os.Link(tree+"/usr/lib/big", tree+"/usr/lib/twin"), os.Chmod(tree, 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// realImage makes an image of a base of size bytes, a step that changes and removes, and one that adds.
func realImage(t testing.TB, s zfssync.Store, size int) string {
	t.Helper()
	ctx := context.Background()
	if err := s.Base(ctx, makeTree(t, size), key(1), nil); err != nil {
		t.Fatal(err)
	}
	step := func(parent, k string, change func(root string) error) {
		b, err := s.BeginStep(ctx, parent, k, zfssync.IDMap{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(change(b.Root()), b.Commit(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	step(key(1), key(2), func(root string) error {
		return errors.Join(os.RemoveAll(root+"/srv/gone"), os.RemoveAll(root+"/srv/again"), os.Mkdir(root+"/srv/again", 0o700),
			os.WriteFile(root+"/srv/again/new", noise(2, size/4), 0o600), os.WriteFile(root+"/etc/motd", []byte("step\n"), 0o644))
	})
	step(key(2), key(3), func(root string) error { return os.WriteFile(root+"/opt", noise(3, 1000), 0o755) })
	img := "sha256:" + strings.Repeat("a", 64)
	if err := s.PutImage(ctx, zfssync.Image{Key: img, Top: key(3), Name: "web", Base: "tree", Env: []string{"A=b"}, Command: []string{"/usr/bin/tool"}}); err != nil {
		t.Fatal(err)
	}
	return img
}

// look describes a tree: everything of each file that a jail can see, but times of directories.
func look(t testing.TB, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		rel, _ := filepath.Rel(root, p)
		fmt.Fprintf(&b, "%s %v %d:%d", rel, info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			b.WriteString(" -> " + to)
		case info.Mode().IsRegular():
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			h := sha256.New()
			if _, err := io.Copy(h, f); err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d links %d %v %.8x", info.Size(), st.Nlink, info.ModTime().Unix(), h.Sum(nil))
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	uuidA = "00000000-0000-4000-8000-00000000000a"
	uuidB = "00000000-0000-4000-8000-00000000000b"
)

// rootOf clones an image for a jail and describes what it sees.
func rootOf(t testing.TB, s zfssync.Store, img, uuid string) string {
	t.Helper()
	root, err := s.Clone(t.Context(), img, uuid, zfssync.CloneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return look(t, root)
}

// wantWhole fails unless the image is the same in both stores and nothing half-made is in the second.
func wantWhole(t testing.TB, there, here zfssync.Store, img string) {
	t.Helper()
	a, b := rootOf(t, there, img, uuidA), rootOf(t, here, img, uuidB)
	if a != b {
		t.Fatalf("the image is another one:\n%s\nwant\n%s", b, a)
	}
	if err := errors.Join(there.Destroy(t.Context(), uuidA), here.Destroy(t.Context(), uuidB)); err != nil {
		t.Fatal(err)
	}
	l, err := here.List(t.Context())
	if err != nil || len(l.Leftovers) > 0 {
		t.Fatalf("left over: %v, %v", l.Leftovers, err)
	}
}

func TestRealStoresHoldTheSameImage(t *testing.T) {
	t.Parallel()
	onEach(t, sameImage)
}

func sameImage(t *testing.T, there, here zfssync.Store) {
	img := realImage(t, there, 3<<20)
	src := newFabric(t).host(t, "host-b", there)
	c := newClient(t, Config{Store: here})
	if err := c.EnsureImage(t.Context(), img, []Source{src}); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, there, here, img)
	got, err := here.Image(img)
	if err != nil || got.Name != "web" || len(got.Env) != 1 || got.Layers != 3 {
		t.Errorf("image: %+v, %v", got, err)
	}
	if err := c.EnsureImage(t.Context(), img, nil); err != nil {
		t.Errorf("the second time no source is needed: %v", err)
	}
}

func TestRealVolumesAndJailsTravelWithTheirImage(t *testing.T) {
	t.Parallel()
	onEach(t, volumesAndJails)
}

func volumesAndJails(t *testing.T, there, here zfssync.Store) {
	const quota = 16 << 20
	img := realImage(t, there, 1<<20)
	src := newFabric(t).host(t, "host-b", there)
	c := newClient(t, Config{Store: here, Delta: true})
	vol, err := there.Volume(t.Context(), zfssync.VolumeID(volume.Name), quota)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the second time one file is new
		files(t, vol, map[string][]byte{fmt.Sprint("table", i): noise(uint64(i), 500_000)})
		name := fmt.Sprint(TemporaryPrefix, i)
		snap, err := src.TakeSnapshot(t.Context(), volume, name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.EnsureObject(t.Context(), volume, ObjectOptions{GUID: snap.GUID, QuotaBytes: quota}, []Source{src})
		if err != nil || got.GUID != snap.GUID {
			t.Fatalf("%v, %v", got, err)
		}
	}
	if err := here.Rollback(t.Context(), volume, TemporaryPrefix+"1", zfssync.RollbackOptions{}); err != nil {
		t.Fatal(err)
	}
	copied, err := here.Volume(t.Context(), zfssync.VolumeID(volume.Name), quota)
	if err != nil {
		t.Fatal(err)
	}
	info, err := here.VolumeInfo(t.Context(), zfssync.VolumeID(volume.Name))
	if err != nil || info.QuotaBytes != quota || !info.QuotaKept {
		t.Errorf("its quota: %+v, %v", info, err)
	}
	if err := os.WriteFile(copied+"/big", make([]byte, 2*quota), 0o600); !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		t.Errorf("32 MiB into a quota of 16: %v", err)
	}
	if err := os.Remove(copied + "/big"); err != nil {
		t.Fatal(err)
	}
	if a, b := look(t, vol), look(t, copied); a != b {
		t.Errorf("the volume is another one:\n%s\nwant\n%s", b, a)
	}

	root, err := there.Clone(t.Context(), img, uuidA, zfssync.CloneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	files(t, root, map[string][]byte{"etc/motd": []byte("of the jail\n"), "var/new": noise(9, 1000)})
	if err := os.Remove(root + "/opt"); err != nil {
		t.Fatal(err)
	}
	want := look(t, root)
	jail := zfssync.Object{Kind: zfssync.KindJail, Name: uuidA}
	if _, err := src.TakeSnapshot(t.Context(), jail, TemporaryPrefix+"move"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.EnsureObject(t.Context(), jail, ObjectOptions{}, []Source{src}); err != nil {
		t.Fatal(err)
	}
	if got := rootOf(t, here, img, uuidA); got != want {
		t.Errorf("the jail is another one:\n%s\nwant\n%s", got, want)
	}
}

// Another tar of the same snapshot would be another stream, and a cut would cost all of it.
func TestARealStreamGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	onEach(t, goesOn)
}

func goesOn(t *testing.T, there, here zfssync.Store) {
	img := realImage(t, there, 4*FrameSize)
	src, i := illHost(t, "host-b", there, func(n int) fault {
		if n == 0 {
			return fault{3*frameWire + 1000, "cut"}
		}
		return fault{at: -1}
	})
	if err := newClient(t, Config{Store: here}).EnsureImage(t.Context(), img, []Source{src}); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, there, here, img)
	whole := int64(0)
	for n := 1; n <= 3; n++ {
		whole += streamBytes(t, there, layerObject(n))
	}
	if extra := i.sent() - whole; extra > 3*frameWire {
		t.Errorf("%d bytes too many were sent: the stream began anew", extra)
	}
}

func streamBytes(t *testing.T, s zfssync.Store, o zfssync.Object) int64 {
	t.Helper()
	list, err := s.Snapshots(t.Context(), o)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	var n countWriter
	if err := s.Send(t.Context(), o, zfssync.SendOptions{Snapshot: list[0].Name, From: list[0].Origin}, &n); err != nil {
		t.Fatal(err)
	}
	return int64(n)
}

type countWriter int64

func (c *countWriter) Write(p []byte) (int, error) {
	*c += countWriter(len(p))
	return len(p), nil
}

func TestCasePoolFullLosesNothingAndWorksAgain(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	dir := t.TempDir()
	small := dir + "/small"
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("rexcarcer-test", small, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	there, here := openOverlay(t, dir+"/there"), openOverlay(t, small+"/store")
	img := realImage(t, there, 8<<20)
	src := newFabric(t).host(t, "host-b", there)
	for _, spool := range []string{"", small + "/spool"} {
		c := newClient(t, Config{Store: here, Spool: spool})
		err := c.EnsureImage(t.Context(), img, []Source{src})
		if !errors.Is(err, zfssync.ErrNoSpace) {
			t.Fatalf("a full disk gave %v", err)
		}
		l, lerr := here.List(t.Context())
		left, _ := filepath.Glob(small + "/spool/*")
		if lerr != nil || here.HasImage(img) || len(l.Leftovers)+len(l.Layers)+len(left) > 0 {
			t.Fatalf("after it: %+v, %v, spool %v", l, lerr, left)
		}
	}
	if err := unix.Mount("", small, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if err := newClient(t, Config{Store: here}).EnsureImage(t.Context(), img, []Source{src}); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, there, here, img)
}
