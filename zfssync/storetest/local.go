package storetest

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

func features(t *testing.T, open func(testing.TB) Opened) {
	f := open(t).Features()
	if f.Driver == "" || f.Format == "" || f.MaxLayers < 1 {
		t.Errorf("got %+v", f)
	}
	for _, x := range []struct {
		what   string
		has    bool
		reason string
	}{
		{"idmap", f.IDMap, f.IDMapReason}, {"volatile", f.Volatile, f.VolatileReason}, {"quota", f.Quota, f.QuotaReason},
		{"increments", f.Increments, f.IncrementsReason}, {"resume", f.Resume, f.ResumeReason}, {"atomic", f.Atomic, f.AtomicReason},
	} {
		if x.has == (x.reason != "") {
			t.Errorf("%s is %v, and the reason is %q", x.what, x.has, x.reason)
		}
	}
}

func clones(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	img := BaseImage(t, s, 1)
	a, err := s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	b, err := s.Clone(t.Context(), img, UUID(2), zfssync.CloneOptions{})
	must(t, err)
	write(t, a+"/etc/new", "a\n")
	must(t, os.Remove(a+"/etc/gone"))
	wantGone(t, b+"/etc/new")
	wantFile(t, b+"/etc/gone", "gone\n")
	again, err := s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	if err != nil || again != a {
		t.Fatalf("second clone: got %q, %v, want %q", again, err, a)
	}
	for range 2 {
		must(t, s.Unmount(t.Context(), UUID(1)))
	}
	wantGone(t, a+"/etc")
	_, err = s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantFile(t, a+"/etc/new", "a\n")
	if err := mknod(a + "/null"); err == nil {
		if f, err := os.Open(a + "/null"); err == nil {
			_ = f.Close()
			t.Error("a device node in a jail's root works")
		}
	}
	if _, err := s.Clone(t.Context(), Key(404), UUID(1), zfssync.CloneOptions{}); err == nil {
		t.Error("a clone of another image was taken for it")
	}
	_, err = s.Clone(t.Context(), Key(404), UUID(3), zfssync.CloneOptions{})
	wantErr(t, "clone of no image", err, zfssync.ErrNotFound)
	for range 2 {
		must(t, s.Destroy(t.Context(), UUID(1)))
	}
	wantGone(t, a+"/etc")
	a, err = s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantGone(t, a+"/etc/new")
	wantFile(t, a+"/etc/gone", "gone\n")
}

func layers(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	base := BaseImage(t, s, 1)
	Step(t, s, base, Key(2), func(root string) {
		must(t, os.Remove(root+"/etc/gone"))
		write(t, root+"/etc/two", "2")
	})
	Step(t, s, Key(2), Key(3), func(root string) {
		wantFile(t, root+"/etc/two", "2")
		wantGone(t, root+"/etc/gone")
		must(t, os.RemoveAll(root+"/srv"))
		must(t, os.Mkdir(root+"/srv", 0o700))
		write(t, root+"/srv/c", "c")
	})
	b, err := s.BeginStep(t.Context(), Key(3), Key(4), zfssync.IDMap{})
	must(t, err)
	root := b.Root()
	write(t, root+"/never", "")
	for range 2 {
		must(t, b.Abort())
	}
	if s.HasLayer(Key(4)) || b.Commit(t.Context()) == nil {
		t.Error("an aborted step made a layer")
	}
	_, err = s.BeginStep(t.Context(), Key(404), Key(5), zfssync.IDMap{})
	wantErr(t, "step above nothing", err, zfssync.ErrNotFound)

	must(t, s.PutImage(t.Context(), zfssync.Image{Key: Key(30), Top: Key(3)}))
	wantErr(t, "image of no layer", s.PutImage(t.Context(), zfssync.Image{Key: Key(31), Top: Key(404)}), zfssync.ErrNotFound)
	img, err := s.Image(Key(30))
	if err != nil || img.Layers != 3 || img.Bytes <= 0 || img.CreatedAt.IsZero() {
		t.Errorf("image: %+v, %v", img, err)
	}
	l, err := s.Layer(Key(3))
	if err != nil || len(l.Parents) != 2 || l.Parents[0] != Key(2) || l.Parents[1] != Key(1) {
		t.Errorf("layer: %+v, %v", l, err)
	}
	_, err = s.Layer(Key(404))
	wantErr(t, "no layer", err, zfssync.ErrNotFound)
	at, err := s.Clone(t.Context(), Key(30), UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantFile(t, at+"/etc/two", "2")
	wantFile(t, at+"/srv/c", "c")
	wantGone(t, at+"/srv/a")
	wantGone(t, at+"/etc/gone")
	wantFile(t, at+"/etc/motd", "base\n")
}

func twoMakers(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	base := BaseImage(t, s, 1)
	one, err := s.BeginStep(t.Context(), base, Key(2), zfssync.IDMap{})
	must(t, err)
	two, err := s.BeginStep(t.Context(), base, Key(2), zfssync.IDMap{})
	must(t, err)
	write(t, one.Root()+"/who", "one")
	write(t, two.Root()+"/who", "two")
	must(t, two.Commit(t.Context()))
	must(t, one.Commit(t.Context()))
	Step(t, s, Key(2), Key(3), func(root string) { wantFile(t, root+"/who", "two") })
	l, err := s.List(t.Context())
	if err != nil || len(l.Leftovers) != 0 || len(l.Layers) != 3 {
		t.Errorf("got %+v, %v", l, err)
	}
	kept, err := s.BeginStep(t.Context(), base, Key(4), zfssync.IDMap{})
	must(t, err)
	must(t, kept.CommitAs(t.Context(), Key(5)))
	if s.HasLayer(Key(4)) || !s.HasLayer(Key(5)) {
		t.Error("CommitAs did not choose the key")
	}
}

func images(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	base := BaseImage(t, s, 1)
	Step(t, s, base, Key(2), func(root string) { write(t, root+"/x", "x") })
	must(t, s.PutImage(t.Context(), zfssync.Image{Key: Key(20), Top: Key(2)}))
	_, err := s.Clone(t.Context(), Key(20), UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantErr(t, "remove an image in use", s.RemoveImage(t.Context(), Key(20)), zfssync.ErrInUse)
	must(t, s.Destroy(t.Context(), UUID(1)))
	release := s.Hold()
	must(t, s.RemoveImage(t.Context(), Key(20)))
	if !s.HasLayer(Key(2)) {
		t.Error("a held layer went")
	}
	release()
	must(t, s.RemoveImage(t.Context(), Key(20)))
	must(t, s.PutImage(t.Context(), zfssync.Image{Key: Key(20), Top: Key(2)}))
	must(t, s.RemoveImage(t.Context(), Key(20)))
	if s.HasLayer(Key(2)) || !s.HasLayer(base) || s.HasImage(Key(20)) {
		t.Error("the image's own layer must go, the base stay")
	}
	if _, err := s.Sweep(t.Context(), zfssync.Keep{AllJails: true, Images: []string{}}); err != nil {
		t.Error(err)
	}
	if s.HasLayer(base) || s.HasImage(base) {
		t.Error("nobody wants the base any more")
	}
}

func bases(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/etc", 0o755))
	write(t, dir+"/etc/motd", "dir\n")
	must(t, os.Chmod(dir+"/etc/motd", 0o640))
	must(t, s.Base(t.Context(), dir, Key(1), nil))
	must(t, s.Base(t.Context(), dir, Key(1), nil))
	must(t, s.PutImage(t.Context(), zfssync.Image{Key: Key(1), Top: Key(1)}))
	at, err := s.Clone(t.Context(), Key(1), UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantFile(t, at+"/etc/motd", "dir\n")
	if info, err := os.Stat(at + "/etc/motd"); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode: %v, %v", info, err)
	}
	BaseImage(t, s, 2)
	at, err = s.Clone(t.Context(), Key(2), UUID(2), zfssync.CloneOptions{})
	must(t, err)
	wantRoot(t, at)
	l, err := s.Layer(Key(1))
	if err != nil || l.Base != dir {
		t.Errorf("layer: %+v, %v", l, err)
	}
	wantErr(t, "base of nothing", s.Base(t.Context(), filepath.Join(dir, "no"), Key(3), nil), zfssync.ErrNotFound)
	list, err := s.List(t.Context())
	if err != nil || len(list.Leftovers) != 0 {
		t.Errorf("a refused base left something: %+v, %v", list, err)
	}
}

// wantRoot checks what Tarball packs.
func wantRoot(t *testing.T, at string) {
	t.Helper()
	wantFile(t, at+"/etc/motd", "base\n")
	if l, err := os.Readlink(at + "/etc/link"); err != nil || l != "/etc/motd" {
		t.Errorf("link: %q, %v", l, err)
	}
	a, err := os.Stat(at + "/etc/motd")
	must(t, err)
	b, err := os.Stat(at + "/etc/same")
	must(t, err)
	if !os.SameFile(a, b) {
		t.Error("a hard link became a copy")
	}
	su, err := os.Stat(at + "/bin/su")
	must(t, err)
	if su.Mode() != 0o755|os.ModeSetuid {
		t.Errorf("mode of su: %v", su.Mode())
	}
	srv, err := os.Stat(at + "/srv")
	must(t, err)
	if st := srv.Sys().(*syscall.Stat_t); st.Uid != 33 || st.Gid != 34 || srv.Mode().Perm() != 0o750 {
		t.Errorf("srv: %d:%d %v", st.Uid, st.Gid, srv.Mode())
	}
}

func volumes(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	img := BaseImage(t, s, 1)
	_, err := s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	vol, err := s.Volume(t.Context(), "w.web.data", 0)
	must(t, err)
	if info, err := os.Stat(vol); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("new volume: %v, %v", info, err)
	}
	at, err := s.Bind(t.Context(), UUID(1), "data", vol, zfssync.BindOptions{})
	must(t, err)
	write(t, at+"/x", "x")
	again, err := s.Bind(t.Context(), UUID(1), "data", vol, zfssync.BindOptions{})
	if err != nil || again != at {
		t.Errorf("second bind: %q, %v", again, err)
	}
	wantErr(t, "destroy a bound volume", s.DestroyVolume(t.Context(), "w.web.data"), zfssync.ErrInUse)
	info, err := s.VolumeInfo(t.Context(), "w.web.data")
	if err != nil || !info.InUse {
		t.Errorf("info: %+v, %v", info, err)
	}
	_, err = s.Bind(t.Context(), UUID(1), "data", vol, zfssync.BindOptions{ReadOnly: true})
	must(t, err)
	if err := os.WriteFile(at+"/y", nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("write below a read-only bind: got %v", err)
	}
	must(t, s.Unmount(t.Context(), UUID(1)))
	wantGone(t, at+"/x")
	must(t, s.Destroy(t.Context(), UUID(1)))
	vol, err = s.Volume(t.Context(), "w.web.data", 0)
	must(t, err)
	wantFile(t, vol+"/x", "x")
	if _, err := s.Sweep(t.Context(), zfssync.Keep{}); err != nil {
		t.Error(err)
	}
	wantFile(t, vol+"/x", "x")
	for range 2 {
		must(t, s.DestroyVolume(t.Context(), "w.web.data"))
	}
	_, err = s.VolumeInfo(t.Context(), "w.web.data")
	wantErr(t, "a volume that is gone", err, zfssync.ErrNotFound)
	vol, err = s.Volume(t.Context(), "w.web.data", 0)
	must(t, err)
	wantGone(t, vol+"/x")
}

func quota(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	if !s.Features().Quota {
		t.Logf("no quota: %s", s.Features().QuotaReason)
		return
	}
	vol, err := s.Volume(t.Context(), "q", 4<<20)
	must(t, err)
	err = os.WriteFile(vol+"/big", make2(8<<20), 0o600)
	if !errors.Is(err, syscall.EDQUOT) && !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("8 MiB into a quota of 4: got %v", err)
	}
	vol, err = s.Volume(t.Context(), "q", 32<<20)
	must(t, err)
	must(t, os.WriteFile(vol+"/big", make2(8<<20), 0o600))
	info, err := s.VolumeInfo(t.Context(), "q")
	if err != nil || info.QuotaBytes != 32<<20 {
		t.Errorf("info: %+v, %v", info, err)
	}
}

func manyAtOnce(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	img := BaseImage(t, s, 1)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			root, err := s.Clone(t.Context(), img, UUID(i), zfssync.CloneOptions{})
			if err == nil {
				err = os.WriteFile(root+"/who", []byte(UUID(i)), 0o600)
			}
			if err == nil {
				_, err = s.Volume(t.Context(), zfssync.VolumeID(UUID(i)), 0)
			}
			if i%2 == 0 {
				err = errors.Join(err, s.Destroy(t.Context(), UUID(i)))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l, err := s.List(t.Context())
	if err != nil || len(l.Clones) != 3 || len(l.Volumes) != 6 {
		t.Fatalf("got %+v, %v", l, err)
	}
	for _, c := range l.Clones {
		wantFile(t, c.Root+"/who", c.UUID)
	}
}

func names(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	for _, bad := range []string{"", "..", "../x", "a/b", "$(x)", "-rf", "a\nb", "A", "a@b", "a%b"} {
		_, err := s.Volume(t.Context(), zfssync.VolumeID(bad), 0)
		_, err2 := s.Clone(t.Context(), Key(1), bad, zfssync.CloneOptions{})
		_, err3 := s.TakeSnapshot(t.Context(), zfssync.Object{Kind: zfssync.KindVolume, Name: "v"}, bad)
		_, err4 := s.Snapshots(t.Context(), zfssync.Object{Kind: zfssync.KindVolume, Name: bad})
		_, err5 := s.Bind(t.Context(), UUID(1), bad, "/tmp", zfssync.BindOptions{})
		err6 := s.Receive(t.Context(), zfssync.Object{Kind: zfssync.KindLayer, Name: "sha256:" + bad}, zfssync.ReceiveOptions{}, nil)
		for i, err := range []error{err, err2, err3, err4, err5, err6, s.Destroy(t.Context(), bad), s.Base(t.Context(), "/tmp", bad, nil)} {
			if err == nil {
				t.Errorf("%q was taken by call %d", bad, i)
			}
		}
	}
}

// make2 gives bytes that do not compress to nothing.
func make2(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}
