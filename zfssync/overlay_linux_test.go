package zfssync

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func testKey(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func testUUID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

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

// Kernels before 6.13 take no layers by descriptor, those before 6.15 none from a detached mount: the older way must give

// the same view.

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
