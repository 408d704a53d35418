package zfssync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func TestFlagsAreTakenOffEverythingAndThroughNoLink(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "lib"), 0o755), os.WriteFile(filepath.Join(dir, "lib/libc.so.7"), nil, 0o600),
		os.WriteFile(filepath.Join(outside, "theirs"), nil, 0o600), os.Symlink(outside, filepath.Join(dir, "link")))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	if err := clearFlags(dir, func(p string) error { seen = append(seen, p); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []string{dir, filepath.Join(dir, "lib"), filepath.Join(dir, "lib/libc.so.7"), filepath.Join(dir, "link")}
	if !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}
	if err := clearFlags(dir, func(string) error { return fs.ErrPermission }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a flag that stays: %v", err)
	}
	if err := errors.Join(clearFlags(dir, func(string) error { return fs.ErrNotExist }), clearFlags(filepath.Join(dir, "none"), nil), Erase(dir), Erase(dir)); err != nil {
		t.Error(err)
	}
}

func TestNothingIsErasedThroughAMount(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	dir, data := t.TempDir(), t.TempDir()
	at := filepath.Join(dir, "root/data")
	if err := errors.Join(os.MkdirAll(at, 0o755), os.WriteFile(filepath.Join(data, "precious"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(data, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, 0) })
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(link, "root")} { // mounts are listed by their real names
		if err := Erase(d); err == nil {
			t.Errorf("%s was erased", d)
		}
	}
	if _, err := os.Stat(filepath.Join(data, "precious")); err != nil {
		t.Fatal(err)
	}
	// A store takes its own mounts down first: what a driver that was killed has left in a jail's root.
	p, ctx := newPlain(t), t.Context()
	root, err := p.Clone(ctx, plainKey("c"), plainUUID, CloneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(root, "data")
	if err := errors.Join(os.Mkdir(in, 0o755), unix.Mount(data, in, "", unix.MS_BIND, "")); err != nil {
		t.Fatal(err)
	}
	if err := p.Destroy(ctx, plainUUID); err != nil {
		_ = unix.Unmount(in, 0)
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(data, "precious")); err != nil {
		t.Error(err)
	}
}
