package zfssync

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"golang.org/x/sys/unix"
)

func testKey(n int) string   { return fmt.Sprintf("sha256:%064x", n) }
func testUUID(n int) string  { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }
func testIDs(n uint32) IDMap { return IDMap{HostBase: 1<<20 + n<<16, Size: 1 << 16} }

// openStore gives a store on a fresh directory; nothing of it stays mounted.
func openStore(tb testing.TB, mod ...func(*Config)) *Overlay {
	tb.Helper()
	testenv.RequireRoot(tb)
	c := Config{Dir: filepath.Join(tb.TempDir(), "store")}
	for _, m := range mod {
		m(&c)
	}
	s, err := OpenOverlay(c)
	if err != nil {
		tb.Fatal(err)
	}
	o := s.(*Overlay)
	tb.Cleanup(func() {
		if err := errors.Join(o.Teardown(context.Background()), o.Close()); err != nil {
			tb.Error(err)
		}
	})
	return o
}

// baseImage puts an image of one small layer into the store and returns its key.
func baseImage(tb testing.TB, o *Overlay, n int) string {
	tb.Helper()
	p := filepath.Join(tb.TempDir(), "base.tar")
	b := makeTar(tb, []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir},
		{Name: "etc/", Typeflag: tar.TypeDir},
		{Name: "etc/motd", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "srv/", Typeflag: tar.TypeDir, Uid: 33, Gid: 33},
		{Name: "bin/su", Typeflag: tar.TypeReg, Mode: 0o4755},
	}, map[string]string{"etc/motd": "base\n", "bin/su": "#!"})
	if err := os.WriteFile(p, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	key := testKey(n)
	if err := o.Base(tb.Context(), p, key, nil); err != nil {
		tb.Fatal(err)
	}
	if err := o.PutImage(tb.Context(), Image{Key: key, Top: key, Base: p}); err != nil {
		tb.Fatal(err)
	}
	return key
}

func owner(tb testing.TB, path string) uint32 {
	tb.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		tb.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

func wantFile(tb testing.TB, path, want string) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != want {
		tb.Errorf("%s: got %q, %v, want %q", path, b, err, want)
	}
}

func TestCloneShowsTheImageAndKeepsItsWritesToItself(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	img := baseImage(t, o, 1)
	a, err := o.Clone(t.Context(), img, testUUID(1), CloneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := o.Clone(t.Context(), img, testUUID(2), CloneOptions{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a+"/etc/motd", []byte("a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantFile(t, a+"/etc/motd", "a\n")
	wantFile(t, b+"/etc/motd", "base\n")

	// Twice is the same root, and the same content.
	again, err := o.Clone(t.Context(), img, testUUID(1), CloneOptions{})
	if err != nil || again != a {
		t.Fatalf("second clone: got %q, %v, want %q", again, err, a)
	}
	wantFile(t, a+"/etc/motd", "a\n")
	if _, err := o.Clone(t.Context(), img, testUUID(1), CloneOptions{IDMap: testIDs(0)}); err == nil || !strings.Contains(err.Error(), "destroy it first") {
		t.Errorf("clone with other options: got %v, want a refusal", err)
	}

	// Unmounted, it keeps what was written; destroyed, it does not.
	if err := o.Unmount(t.Context(), testUUID(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Clone(t.Context(), img, testUUID(1), CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	wantFile(t, a+"/etc/motd", "a\n")
	for range 2 {
		if err := o.Destroy(t.Context(), testUUID(1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(o.jail(testUUID(1))); !os.IsNotExist(err) {
		t.Errorf("destroyed clone: %v, want it gone", err)
	}
	if _, err := o.Clone(t.Context(), img, testUUID(1), CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	wantFile(t, a+"/etc/motd", "base\n")
}

func TestVolatileCloneBeginsAnewAfterUnmount(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	img := baseImage(t, o, 1)
	opt := CloneOptions{Volatile: true}
	root, err := o.Clone(t.Context(), img, testUUID(1), opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+"/new", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := o.Unmount(t.Context(), testUUID(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Clone(t.Context(), img, testUUID(1), opt); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root + "/new"); !os.IsNotExist(err) {
		t.Errorf("file of the volatile clone after unmount: %v, want it gone", err)
	}
}

func testIDMapView(t *testing.T, o *Overlay) {
	if !o.Features().IDMap {
		t.Skip(o.Features().IDMapReason)
	}
	img := baseImage(t, o, 1)
	for n := range uint32(2) {
		ids := testIDs(n)
		root, err := o.Clone(t.Context(), img, testUUID(int(n)), CloneOptions{Volatile: true, IDMap: ids})
		if err != nil {
			t.Fatal(err)
		}
		if got := owner(t, root+"/etc/motd"); got != ids.HostBase {
			t.Errorf("root's file belongs to %d, want %d", got, ids.HostBase)
		}
		if got := owner(t, root+"/srv"); got != ids.HostBase+33 {
			t.Errorf("file of id 33 belongs to %d, want %d", got, ids.HostBase+33)
		}
		// Copy-up and new files: unshifted on disk.
		if err := os.Chmod(root+"/etc/motd", 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(root+"/srv/x", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(root+"/srv/x", int(ids.HostBase)+33, int(ids.HostBase)+33); err != nil {
			t.Fatal(err)
		}
		up := o.upper(testUUID(int(n)))
		if a, b := owner(t, up+"/etc/motd"), owner(t, up+"/srv/x"); a != 0 || b != 33 {
			t.Errorf("on disk: got owners %d and %d, want 0 and 33", a, b)
		}
		// A volume is seen with the same ids.
		vol, err := o.Volume(t.Context(), "w.web-1.data", 0)
		if err != nil {
			t.Fatal(err)
		}
		at, err := o.Bind(t.Context(), testUUID(int(n)), "data", vol, BindOptions{IDMap: ids})
		if err != nil {
			t.Fatal(err)
		}
		if got := owner(t, at); got != ids.HostBase {
			t.Errorf("volume belongs to %d, want %d", got, ids.HostBase)
		}
		if _, err := o.Bind(t.Context(), testUUID(int(n)), "data", vol, BindOptions{IDMap: ids}); err != nil {
			t.Errorf("second bind: %v", err)
		}
		if err := o.DestroyVolume(t.Context(), "w.web-1.data"); !errors.Is(err, ErrInUse) {
			t.Errorf("destroy of a bound volume: got %v, want in use", err)
		}
	}
	for n := range 2 {
		if err := o.Destroy(t.Context(), testUUID(n)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := o.DestroyVolume(t.Context(), "w.web-1.data"); err != nil {
			t.Fatal(err)
		}
	}
	noMountsBelow(t, o.dir)
}

func TestEachCloneHasItsOwnIDsOnSharedLayers(t *testing.T) {
	t.Parallel()
	testIDMapView(t, openStore(t))
}

// Kernels before 6.13 take no layers by descriptor, those before 6.15 none from a detached mount: the older way must give
// the same view.
func TestOldKernelsWayGivesTheSameView(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	o.feat.LayerFDs, o.attach = false, true
	testIDMapView(t, o)
}

func noMountsBelow(tb testing.TB, dir string) {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, dir) {
			tb.Errorf("still mounted: %s", line)
		}
	}
}

func TestReadOnlyBindCannotBeWritten(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	src := t.TempDir()
	at, err := o.Bind(t.Context(), testUUID(1), "conf", src, BindOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at+"/x", nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write: got %v, want read-only file system", err)
	}
	// Another wish for the same place replaces it.
	if at, err = o.Bind(t.Context(), testUUID(1), "conf", src, BindOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at+"/x", nil, 0o644); err != nil {
		t.Error(err)
	}
}

func TestStepsStackAndAnAbortedOneLeavesNothing(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	parent := baseImage(t, o, 1)
	const steps = 70 // more than a page of paths for mount(2)
	for i := range steps {
		b, err := o.BeginStep(t.Context(), parent, testKey(100+i), IDMap{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fmt.Sprintf("%s/step%d", b.Root(), i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			if err := os.Remove(b.Root() + "/step2"); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Abort(); err != nil {
			t.Errorf("abort after commit: %v", err)
		}
		parent = testKey(100 + i)
	}
	b, err := o.BeginStep(t.Context(), parent, testKey(999), IDMap{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Abort(); err != nil {
		t.Fatal(err)
	}
	if o.HasLayer(testKey(999)) {
		t.Error("aborted layer is there")
	}
	if err := o.PutImage(t.Context(), Image{Key: testKey(2), Top: parent, Env: []string{"A=b"}, Command: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	img, err := o.Image(testKey(2))
	if err != nil || img.Layers != steps+1 || img.Bytes == 0 || img.Env[0] != "A=b" {
		t.Errorf("image: got %+v, %v", img, err)
	}
	for _, fds := range []bool{true, false} {
		o.feat.LayerFDs = o.feat.LayerFDs && fds
		root, err := o.Clone(t.Context(), testKey(2), testUUID(1), CloneOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := filepath.Glob(root + "/step*"); len(n) != steps-1 {
			t.Errorf("files of the steps: got %d, want %d", len(n), steps-1)
		}
		if err := o.Destroy(t.Context(), testUUID(1)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := o.List(t.Context())
	if err != nil || len(l.Leftovers) != 0 {
		t.Errorf("leftovers: %v, %v", l.Leftovers, err)
	}
	noMountsBelow(t, o.dir)
}

func TestTwoMakersOfOneLayerDoNoHarm(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	parent := baseImage(t, o, 1)
	var builds []Build
	for i := range 2 {
		b, err := o.BeginStep(t.Context(), parent, testKey(5), IDMap{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b.Root()+"/who", fmt.Append(nil, i), 0o644); err != nil {
			t.Fatal(err)
		}
		builds = append(builds, b)
	}
	for _, b := range builds {
		if err := b.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantFile(t, o.layout.layer(strings.TrimPrefix(testKey(5), keyPrefix))+"/fs/who", "0")
}

func TestLeftoversOfACrashAreSweptAndForeignThingsStay(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	img := baseImage(t, o, 1)
	if _, err := o.Clone(t.Context(), img, testUUID(1), CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Clone(t.Context(), img, testUUID(2), CloneOptions{IDMap: testIDs(0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Volume(t.Context(), "keep", 1<<20); err != nil {
		t.Fatal(err)
	}
	b, err := o.BeginStep(t.Context(), img, testKey(7), IDMap{})
	if err != nil {
		t.Fatal(err)
	}
	// The daemon dies here: the build's mount and the clones stay. What it had mounted below the build, too.
	if err := os.Mkdir(b.Root()+"/proc", 0o755); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.MkdirAll(precious+"/deep", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(precious, b.Root()+"/proc", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(o.jail(testUUID(3)), "rw"), 0o755); err != nil { // half a clone
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenOverlay(Config{Dir: o.dir})
	if err != nil {
		t.Fatal(err)
	}
	n := s.(*Overlay)
	o.lock, o.ns.fds = n.lock, map[IDMap]int{} // for the clean-up of the test
	if l, err := n.List(t.Context()); err != nil || len(l.Leftovers) != 1 || len(l.Clones) != 3 {
		t.Fatalf("before the sweep: %+v, %v", l, err)
	}
	if _, err := n.Sweep(t.Context(), Keep{Jails: []string{testUUID(1)}}); err != nil {
		t.Fatal(err)
	}
	l, err := n.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Leftovers) != 0 || len(l.Clones) != 1 || !l.Clones[0].Mounted || len(l.Volumes) != 1 || len(l.Images) != 1 {
		t.Errorf("after the sweep: %+v", l)
	}
	if _, err := os.Stat(precious + "/deep"); err != nil {
		t.Errorf("the sweep deleted through a mount: %v", err)
	}
	if again, err := n.Sweep(t.Context(), Keep{Jails: []string{testUUID(1)}}); err != nil || len(again) != 0 {
		t.Errorf("second sweep: removed %v, %v, want nothing", again, err)
	}
}

func TestTwoStoresOnOneDirectoryAreRefused(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	if _, err := OpenOverlay(Config{Dir: o.dir}); err == nil || !strings.Contains(err.Error(), "in use by another rexcarcer") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestLayersGoWithTheLastImageThatNeedsThem(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	base := baseImage(t, o, 1)
	for i, key := range []string{testKey(11), testKey(12)} {
		b, err := o.BeginStep(t.Context(), []string{base, testKey(11)}[i], key, IDMap{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := o.PutImage(t.Context(), Image{Key: testKey(20 + i), Top: key}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Clone(t.Context(), testKey(21), testUUID(1), CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := o.RemoveImage(t.Context(), testKey(21)); !errors.Is(err, ErrInUse) {
		t.Errorf("remove an image with a clone: got %v, want in use", err)
	}
	if err := o.Destroy(t.Context(), testUUID(1)); err != nil {
		t.Fatal(err)
	}
	if err := o.RemoveImage(t.Context(), testKey(21)); err != nil {
		t.Fatal(err)
	}
	if o.HasLayer(testKey(12)) || !o.HasLayer(testKey(11)) {
		t.Error("layer 12 should be gone, layer 11 is of another image")
	}
	release := o.Hold()
	if _, err := o.Sweep(t.Context(), Keep{Images: []string{}, AllJails: true}); err != nil {
		t.Fatal(err)
	}
	if !o.HasLayer(testKey(11)) {
		t.Error("a layer went while a build held")
	}
	release()
	if _, err := o.Sweep(t.Context(), Keep{Images: []string{}, AllJails: true, BaseOfAll: true}); err != nil {
		t.Fatal(err)
	}
	l, err := o.List(t.Context())
	if err != nil || !slices.Equal(l.Layers, []string{base}) || len(l.Images) != 0 {
		t.Errorf("got layers %v, images %v, %v; want the base alone", l.Layers, l.Images, err)
	}
}

func TestHostBaseHidesTheStoreAndWhatPeopleOwn(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"descriptors", "old kernel"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			secret := t.TempDir()
			o := openStore(t, func(c *Config) { c.Hide = []string{secret} })
			if way == "old kernel" {
				o.feat.LayerFDs, o.attach = false, true
			}
			testHostBase(t, o, secret)
		})
	}
}

func testHostBase(t *testing.T, o *Overlay, secret string) {
	if err := o.Base(t.Context(), "host:/", testKey(1), nil); err != nil {
		t.Fatal(err)
	}
	opt := CloneOptions{Volatile: true}
	if o.Features().IDMap {
		opt.IDMap = testIDs(0)
	}
	b, err := o.BeginStep(t.Context(), testKey(1), testKey(2), opt.IDMap)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.Root()+"/step", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.PutImage(t.Context(), Image{Key: testKey(2), Top: testKey(2)}); err != nil {
		t.Fatal(err)
	}
	root, err := o.Clone(t.Context(), testKey(2), testUUID(1), opt)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, root+"/step", "x")
	if _, err := os.Stat(root + "/etc/passwd"); err != nil {
		t.Error(err)
	}
	for _, p := range []string{"/", "/etc", "/var", "/etc/passwd"} {
		if got := owner(t, root+p); got != opt.IDMap.HostBase {
			t.Errorf("%s belongs to %d, want %d", p, got, opt.IDMap.HostBase)
		}
	}
	for _, p := range []string{o.dir, secret} {
		if _, err := os.Stat(root + p); !os.IsNotExist(err) {
			t.Errorf("%s can be seen: %v", p, err)
		}
	}
	if e, err := os.ReadDir(root + "/root"); err != nil || len(e) != 0 {
		t.Errorf("/root: got %v, %v, want nothing", e, err)
	}
	if err := o.Destroy(t.Context(), testUUID(1)); err != nil {
		t.Fatal(err)
	}
	noMountsBelow(t, o.dir)
}

func TestWrongNamesAreRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	for _, bad := range []string{"", "..", "../x", "a/b", "$(x)", "-rf", "a\nb", "A", strings.Repeat("x", 200)} {
		if _, err := o.Volume(t.Context(), VolumeID(bad), 0); err == nil {
			t.Errorf("volume %q was taken", bad)
		}
		if _, err := o.Clone(t.Context(), testKey(1), bad, CloneOptions{}); err == nil {
			t.Errorf("uuid %q was taken", bad)
		}
		if err := o.Destroy(t.Context(), bad); err == nil {
			t.Errorf("uuid %q was taken", bad)
		}
		if _, err := o.Bind(t.Context(), testUUID(1), bad, "/tmp", BindOptions{}); err == nil {
			t.Errorf("volume name %q was taken", bad)
		}
		if err := o.Base(t.Context(), "/tmp", "sha256:"+bad, nil); err == nil {
			t.Errorf("key %q was taken", bad)
		}
		if err := o.Base(t.Context(), "debian:"+bad, testKey(3), nil); err == nil {
			t.Errorf("suite %q was taken", bad)
		}
	}
	if _, err := o.Clone(t.Context(), testKey(404), testUUID(1), CloneOptions{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("clone of no image: got %v, want not found", err)
	}
	if err := o.Base(t.Context(), "/no/such/base.tar", testKey(3), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing base: got %v, want not found", err)
	}
	if l, err := o.List(t.Context()); err != nil || len(l.Leftovers)+len(l.Clones) != 0 {
		t.Errorf("refused calls left something: %+v, %v", l, err)
	}
}

// BenchmarkClone measures a warm clone with its destruction, as jails that are started and thrown away do it.
func BenchmarkClone(b *testing.B) {
	for _, mode := range []string{"plain", "idmap"} {
		b.Run(mode, func(b *testing.B) {
			o := openStore(b)
			img := baseImage(b, o, 1)
			for i := range 10 {
				s, err := o.BeginStep(b.Context(), img, testKey(50+i), IDMap{})
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Commit(b.Context()); err != nil {
					b.Fatal(err)
				}
				img = testKey(50 + i)
			}
			if err := o.PutImage(b.Context(), Image{Key: testKey(2), Top: img}); err != nil {
				b.Fatal(err)
			}
			opt := CloneOptions{Volatile: true}
			if mode == "idmap" {
				opt.IDMap = testIDs(0)
			}
			var clones, destroys []time.Duration
			for i := 0; b.Loop(); i++ {
				t0 := time.Now()
				if _, err := o.Clone(b.Context(), testKey(2), testUUID(i), opt); err != nil {
					b.Fatal(err)
				}
				t1 := time.Now()
				if err := o.Destroy(b.Context(), testUUID(i)); err != nil {
					b.Fatal(err)
				}
				clones, destroys = append(clones, t1.Sub(t0)), append(destroys, time.Since(t1))
			}
			slices.Sort(clones)
			slices.Sort(destroys)
			b.ReportMetric(float64(clones[len(clones)/2].Microseconds()), "clone-p50-us")
			b.ReportMetric(float64(destroys[len(destroys)/2].Microseconds()), "destroy-p50-us")
		})
	}
}
