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
