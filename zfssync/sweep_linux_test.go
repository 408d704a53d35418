package zfssync

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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
