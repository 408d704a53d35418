package storetest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Opened is an empty store. Reopen closes it and opens it again, as a restarted daemon does; without closing it first
// when it was closed already.
type Opened struct {
	zfssync.Store
	Reopen func() Opened
}

// Conform runs the suite. open gives a fresh store, which ends with the test; several are open at once. begin comes before
// each test, which it leaves out by false.
func Conform(t *testing.T, begin func(t *testing.T) bool, open func(tb testing.TB) Opened) {
	t.Helper()
	testenv.RequireRoot(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, func(testing.TB) Opened)
	}{
		{"FeaturesGiveReasons", features},
		{"CloneKeepsItsWritesToItself", clones},
		{"LayersStandOnEachOther", layers},
		{"OneOfTwoMakersWins", twoMakers},
		{"ImagesInUseStay", images},
		{"BasesOfEveryKind", bases},
		{"VolumesOutliveJails", volumes},
		{"QuotaIsEnforced", quota},
		{"SnapshotsAndRollback", snapshots},
		{"LayersTravel", layersTravel},
		{"VolumesTravel", volumesTravel},
		{"JailsTravel", jailsTravel},
		{"BadStreamsLeaveNothing", badStreams},
		{"CrashesAreSwept", crashes},
		{"ARestartFindsEverything", restart},
		{"WrongNamesAreRefused", names},
		{"ManyAtOnce", manyAtOnce},
	} {
		t.Run(c.name, func(t *testing.T) {
			if begin(t) {
				c.test(t, open)
			}
		})
	}
}

// Key is a valid key.
func Key(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// UUID is a valid uuid of a jail.
func UUID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

// Tarball packs a small root file system with what is easily lost: links, modes, owners, times.
func Tarball(tb testing.TB) string {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range []struct {
		tar.Header
		text string
	}{
		{tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		{tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		{tar.Header{Name: "etc/motd", Typeflag: tar.TypeReg, Mode: 0o644}, "base\n"},
		{tar.Header{Name: "etc/gone", Typeflag: tar.TypeReg, Mode: 0o644}, "gone\n"},
		{tar.Header{Name: "etc/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/motd"}, ""},
		{tar.Header{Name: "etc/same", Typeflag: tar.TypeLink, Linkname: "etc/motd"}, ""},
		{tar.Header{Name: "bin/su", Typeflag: tar.TypeReg, Mode: 0o4755}, "#!"},
		{tar.Header{Name: "srv/", Typeflag: tar.TypeDir, Mode: 0o750, Uid: 33, Gid: 34}, ""},
		{tar.Header{Name: "srv/a", Typeflag: tar.TypeReg, Mode: 0o600, Uid: 33}, "a"},
		{tar.Header{Name: "srv/b", Typeflag: tar.TypeReg, Mode: 0o600, Uid: 33}, "b"},
	} {
		m.Size = int64(len(m.text))
		if err := w.WriteHeader(&m.Header); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(m.text)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	p := filepath.Join(tb.TempDir(), "base.tar")
	must(tb, os.WriteFile(p, b.Bytes(), 0o600))
	return p
}

// BaseImage makes an image of one base layer, both under Key(n).
func BaseImage(tb testing.TB, s zfssync.Store, n int) string {
	tb.Helper()
	must(tb, s.Base(ctxOf(tb), Tarball(tb), Key(n), nil))
	must(tb, s.PutImage(ctxOf(tb), zfssync.Image{Key: Key(n), Top: Key(n), Base: "test"}))
	return Key(n)
}

// Step commits layer key above parent, with what do changes.
func Step(tb testing.TB, s zfssync.Store, parent, key string, do func(root string)) {
	tb.Helper()
	b, err := s.BeginStep(ctxOf(tb), parent, key, zfssync.IDMap{})
	must(tb, err)
	defer func() { must(tb, b.Abort()) }()
	do(b.Root())
	must(tb, b.Commit(ctxOf(tb)))
}

func ctxOf(tb testing.TB) context.Context { return tb.Context() }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantErr(tb testing.TB, what string, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) {
		tb.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantFile(tb testing.TB, path, want string) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != want {
		tb.Errorf("%s: got %q, %v, want %q", path, b, err, want)
	}
}

func wantGone(tb testing.TB, path string) {
	tb.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		tb.Errorf("%s: got %v, want it gone", path, err)
	}
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	must(tb, os.WriteFile(path, []byte(text), 0o644)) //nolint:gosec // as jails write
}
