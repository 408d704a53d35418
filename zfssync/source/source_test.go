package source_test

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB, name string) bundle.Key {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: today.AddDate(0, -1, 0), NotAfter: today.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := bundle.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type member struct {
	name, text, link string
	kind             byte
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.link, Size: int64(len(m.text)), Mode: 0o755, ModTime: today}
		if m.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func digestOf(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

// newSources trust signers; retries do not wait long.
func newSources(t testing.TB, c source.Config, trusted ...bundle.Key) (*source.Sources, string) {
	t.Helper()
	c.Dir = filepath.Join(t.TempDir(), "bases")
	c.Trusted = func() []bundle.Signer {
		var all []bundle.Signer
		for _, k := range trusted {
			all = append(all, k.Signer)
		}
		return all
	}
	if c.Now == nil {
		c.Now = func() time.Time { return today }
	}
	c.Platform, c.Pause = "linux/amd64", time.Millisecond
	return source.New(c), c.Dir
}

// writeBundle puts a signed bundle into dir.
func writeBundle(t testing.TB, dir, name string, version uint64, payload []byte, keys ...bundle.Key) bundle.Meta {
	t.Helper()
	m := bundle.Meta{
		Name: name, Version: version, Created: today, Platform: "linux/amd64", Payload: name + ".tar.zst",
		Size: int64(len(payload)), Digest: digestOf(payload),
	}
	write(t, filepath.Join(dir, m.Payload), payload)
	for _, k := range keys {
		files, err := bundle.Sign(m, k)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			write(t, filepath.Join(dir, f.Name), f.Content)
		}
	}
	return m
}

func write(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// read closes f and returns the members of its tar as "name=text".
func read(t testing.TB, f source.Fetched) string {
	t.Helper()
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	file, err := os.Open(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, done, err := zfssync.Unpack(file, zfssync.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	var out []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err != nil {
			break
		}
		var text bytes.Buffer
		if _, err := text.ReadFrom(tr); err != nil {
			t.Fatal(err)
		}
		line := h.Name
		switch {
		case h.Linkname != "":
			line += "->" + h.Linkname
		case h.Typeflag == tar.TypeReg:
			line += "=" + text.String()
		}
		out = append(out, line)
	}
	return strings.Join(out, " ")
}

// wantRefused checks the error, and that the reason lies in quarantine.
func wantRefused(t *testing.T, err error, dir string, want bundle.Reason) {
	t.Helper()
	r, ok := bundle.IsRefusal(err)
	if !ok || r.Reason != want {
		t.Fatalf("got %v, want a refusal because of %s", err, want)
	}
	found, gerr := filepath.Glob(filepath.Join(dir, "quarantine", "*-"+string(want), "REASON"))
	if gerr != nil || len(found) == 0 {
		t.Errorf("no reason in quarantine for %v", err)
	}
	if ready, _ := filepath.Glob(filepath.Join(dir, "ready", "*")); len(ready) > 0 {
		t.Errorf("what was refused is ready to be unpacked: %v", ready)
	}
}

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
