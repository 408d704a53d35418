package source_test

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

func TestBundleInADirectoryIsFetched(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	m := writeBundle(t, from, "b", 3, zst(t, tarOf(t, member{name: "etc/hello", text: "world"})), k)
	s, dir := newSources(t, source.Config{}, k)
	for _, ref := range []string{"/b", "/b.tar.zst", "/b.base"} {
		f, err := s.Fetch(t.Context(), from+ref, "", nil)
		if err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
		if f.Origin.Digest != m.Digest || f.Origin.Version != 3 || f.Origin.SignedBy != "alice" || f.Format != "tar" || f.Origin.Ref != from+ref {
			t.Errorf("%s: got %+v", ref, f)
		}
		if got := read(t, f); got != "etc/hello=world" {
			t.Errorf("%s: got %s", ref, got)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if s.Handles(from+"/other") || s.Handles("debian:bookworm") || s.Handles("host:/") || !s.Handles("oci:a/b") || !s.Handles("freebsd:14.3") {
		t.Error("the kinds of bases are mixed up")
	}
}

func TestCase37EachFlawOfADirectoryIsRefusedBeforeAnythingIsReady(t *testing.T) {
	t.Parallel()
	alice, bob := newKey(t, "alice"), newKey(t, "bob")
	good := zst(t, tarOf(t, member{name: "etc/hello", text: "world"}))
	for name, tt := range map[string]struct {
		change func(t *testing.T, dir string)
		want   bundle.Reason
	}{
		"never signed": {func(t *testing.T, dir string) { remove(t, dir, "b.sha256") }, bundle.Unsigned},
		"no signature": {func(t *testing.T, dir string) { remove(t, dir, "b.sha256sig."+alice.Signer.Fingerprint) }, bundle.Unsigned},
		"by a stranger": {func(t *testing.T, dir string) {
			remove(t, dir, "b.sha256sig."+alice.Signer.Fingerprint)
			writeBundle(t, dir, "b", 1, good, bob)
		}, bundle.Untrusted},
		"other payload": {func(t *testing.T, dir string) {
			change(t, dir, "b.tar.zst", func(b []byte) []byte { b[20] ^= 1; return b })
		}, bundle.WrongHash},
		"trailing bytes": {func(t *testing.T, dir string) {
			change(t, dir, "b.tar.zst", func(b []byte) []byte { return append(b, 0) })
		}, bundle.TrailingData},
		"cut payload": {func(t *testing.T, dir string) { change(t, dir, "b.tar.zst", func(b []byte) []byte { return b[:9] }) }, bundle.WrongHash},
		"other meta": {func(t *testing.T, dir string) {
			change(t, dir, "b.base", func(b []byte) []byte { return append(b, "x-a: b\n"...) })
		}, bundle.WrongHash},
		"signed escape": {func(t *testing.T, dir string) {
			writeBundle(t, dir, "b", 1, zst(t, tarOf(t, member{name: "../x"})), alice)
		}, bundle.Escape},
		"signed device": {func(t *testing.T, dir string) {
			writeBundle(t, dir, "b", 1, zst(t, tarOf(t, member{name: "x", kind: tar.TypeChar})), alice)
		}, bundle.Device},
		"signed bomb": {func(t *testing.T, dir string) {
			writeBundle(t, dir, "b", 1, zst(t, tarOf(t, member{name: "x", text: strings.Repeat("0", 1<<20)})), alice)
		}, bundle.Bomb},
		"huge meta": {func(t *testing.T, dir string) {
			change(t, dir, "b.base", func([]byte) []byte { return make([]byte, 1<<20) })
		}, bundle.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := t.TempDir()
			writeBundle(t, from, "b", 1, good, alice)
			tt.change(t, from)
			s, dir := newSources(t, source.Config{Limits: zfssync.Limits{Bytes: 1 << 19}}, alice)
			_, err := s.Fetch(t.Context(), from+"/b", "", nil)
			wantRefused(t, err, dir, tt.want)
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func change(t *testing.T, dir, name string, how func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, name), how(b))
}

func TestAPinIsHeld(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	m := writeBundle(t, from, "b", 1, zst(t, tarOf(t, member{name: "a", text: "1"})), k)
	s, dir := newSources(t, source.Config{}, k)
	f, err := s.Fetch(t.Context(), from+"/b@"+m.Digest, m.Digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	read(t, f)
	next := writeBundle(t, from, "b", 2, zst(t, tarOf(t, member{name: "a", text: "2"})), k)
	if _, err = s.Fetch(t.Context(), from+"/b", m.Digest, nil); err == nil || !strings.Contains(err.Error(), "rexctl base update") {
		t.Errorf("pinned by the cluster: got %v", err)
	}
	if _, ok := bundle.IsRefusal(err); ok {
		t.Errorf("a new version is no attack: %v", err)
	}
	_, err = s.Look(t.Context(), from+"/b@"+m.Digest)
	wantRefused(t, err, dir, bundle.OtherContent)
	if o, err := s.Look(t.Context(), from+"/b"); err != nil || o.Digest != next.Digest {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestWrongPlatformIsTold(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	payload := zst(t, tarOf(t, member{name: "a"}))
	m := bundle.Meta{Name: "b", Version: 1, Created: today, Platform: "freebsd/arm64", Payload: "b.tar.zst", Size: int64(len(payload)), Digest: digestOf(payload)}
	files, err := bundle.Sign(m, k)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		write(t, filepath.Join(from, f.Name), f.Content)
	}
	s, _ := newSources(t, source.Config{}, k)
	if _, err := s.Look(t.Context(), from+"/b"); err == nil || !strings.Contains(err.Error(), "freebsd/arm64") || !strings.Contains(err.Error(), "linux/amd64") {
		t.Errorf("got %v", err)
	}
}

func TestQuarantineIsBoundedAndSweepRemovesLeftovers(t *testing.T) {
	t.Parallel()
	k, from := newKey(t, "alice"), t.TempDir()
	writeBundle(t, from, "b", 1, []byte("x"), k)
	remove(t, from, "b.sha256")
	now := today
	s, dir := newSources(t, source.Config{Now: func() time.Time { now = now.Add(time.Second); return now }}, k)
	for range 12 {
		if _, err := s.Fetch(t.Context(), from+"/b", "", nil); err == nil {
			t.Fatal("taken")
		}
	}
	kept, err := os.ReadDir(filepath.Join(dir, "quarantine"))
	if err != nil || len(kept) != 8 {
		t.Errorf("%d in quarantine, %v, want the newest 8", len(kept), err)
	}
	write(t, filepath.Join(dir, "ready", "left.tar"), nil)
	write(t, filepath.Join(dir, "partial", "half"), nil)
	old := today.Add(-30 * 24 * time.Hour)
	write(t, filepath.Join(dir, "partial", "old"), nil)
	if err := errors.Join(os.Chtimes(filepath.Join(dir, "partial", "old"), old, old), s.Sweep()); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "[rp]*", "*"))
	if len(left) != 1 || filepath.Base(left[0]) != "half" {
		t.Errorf("left after the sweep: %v, want the fresh half", left)
	}
}
