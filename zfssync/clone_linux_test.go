package zfssync

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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

func TestOldKernelsWayGivesTheSameView(t *testing.T) {
	t.Parallel()
	o := openStore(t)
	o.feat.LayerFDs, o.attach = false, true
	testIDMapView(t, o)
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

// BenchmarkCloneAtOnce is 16 jails at once, started and thrown away.
func BenchmarkCloneAtOnce(b *testing.B) {
	o := openStore(b)
	img := baseImage(b, o, 1)
	opt := CloneOptions{Volatile: true}
	if o.Features().IDMap {
		opt.IDMap = testIDs(0)
	}
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			uuid := testUUID(int(n.Add(1)))
			if _, err := o.Clone(b.Context(), img, uuid, opt); err != nil {
				b.Error(err)
			}
			if err := o.Destroy(b.Context(), uuid); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "clones/s")
}
