package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var testNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func testCA(tb testing.TB) *CA {
	tb.Helper()
	key, err := NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	ca, err := NewCA("demo", key, testNow, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return ca
}

func testIssue(tb testing.TB, ca *CA, p Profile, now time.Time) (chainPEM []byte, key crypto.Signer) {
	tb.Helper()
	key, err := NewKey()
	if err != nil {
		tb.Fatal(err)
	}
	csr, err := NewCSR(key, p.ID.Name)
	if err != nil {
		tb.Fatal(err)
	}
	chainPEM, err = Issue(ca, csr, p, now)
	if err != nil {
		tb.Fatal(err)
	}
	return chainPEM, key
}

func TestCAIsMadeOnceAndKeptInDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	first, err := OpenCA(dir, "demo", testNow, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenCA(dir, "demo", testNow.Add(time.Hour), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.CertPEM(), second.CertPEM()) {
		t.Error("the second start made another CA")
	}
	info, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("ca.key has mode %v, want 0600", info.Mode())
	}
	if got := first.cert.NotAfter.Sub(testNow); got != CALifetime {
		t.Errorf("the CA lives %v, want %v", got, CALifetime)
	}
}

func TestInterruptedFirstStartOfTheCAIsFinished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := EnsureKey(filepath.Join(dir, "ca.key")); err != nil { // then the power went
		t.Fatal(err)
	}
	if _, err := OpenCA(dir, "demo", testNow, rand.Reader); err != nil {
		t.Fatal(err)
	}
}

func TestCAWithoutItsKeyIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := OpenCA(dir, "demo", testNow, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	_, err := OpenCA(dir, "demo", testNow, rand.Reader)
	if err == nil || !strings.Contains(err.Error(), "restore") {
		t.Fatalf("error %v, want one that says to restore the key", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ca.key")); err == nil {
		t.Error("a new key was made")
	}
}

func TestCAWithForeignKeyIsRefused(t *testing.T) {
	t.Parallel()
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCA(testCA(t).CertPEM(), other, rand.Reader); err == nil {
		t.Error("certificate and key of different CAs were accepted together")
	}
}

func TestKeyReadableByOthersIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "host.key")
	if _, err := EnsureKey(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("error %v, want one that says chmod 600", err)
	}
}

func TestSerialComesFromTheInjectedReader(t *testing.T) {
	t.Parallel()
	a, err := newSerial(bytes.NewReader(make([]byte, 16)))
	if err != nil {
		t.Fatal(err)
	}
	if a.Sign() <= 0 || a.BitLen() != 127 {
		t.Errorf("serial %x of %d bits, want a positive one of 127", a, a.BitLen())
	}
	if _, err := newSerial(bytes.NewReader(make([]byte, 15))); err == nil {
		t.Error("a short random source was accepted")
	}
}

func TestClusterNameMustBeATrustDomain(t *testing.T) {
	t.Parallel()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "Demo", "a b", "a/b", "$(x)", "a\nb"} {
		if _, err := NewCA(name, key, testNow, rand.Reader); err == nil {
			t.Errorf("cluster name %q was accepted", name)
		}
	}
}
