package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func memberOf(t *testing.T, ca *CA, name string) *Identity {
	t.Helper()
	chain, key := testIssue(t, ca, Profile{ID: ID{Role: RoleServer, Name: name}, Lifetime: time.Hour, Server: true, Client: true}, testNow)
	keyPEM, err := EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := NewIdentity(chain, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestNoHandshakeFailsWhileACAIsRotated: a host that is behind trusts only the
// first CA and has a certificate of it, one that is ahead has both.
func TestNoHandshakeFailsWhileACAIsRotated(t *testing.T) {
	t.Parallel()
	first, second := testCA(t), testCA(t)
	cross, err := CrossSign(first, second, testNow)
	if err != nil {
		t.Fatal(err)
	}
	both, err := NewPool(append(bytes.Clone(second.CertPEM()), first.CertPEM()...))
	if err != nil {
		t.Fatal(err)
	}
	old, now := memberOf(t, first, "h-1"), memberOf(t, second.Behind(cross), "h-2")
	for name, c := range map[string]struct {
		server, client           *Identity
		serverRoots, clientRoots *x509.CertPool
		fails                    bool
	}{
		"both behind":                   {old, old, first.Pool(), first.Pool(), false},
		"server ahead, client behind":   {now, old, both, first.Pool(), false},
		"server behind, client ahead":   {old, now, first.Pool(), both, false},
		"ahead, certificates are old":   {old, old, both, both, false},
		"both ahead":                    {now, now, both, both, false},
		"the first retired, both ahead": {now, now, second.Pool(), second.Pool(), false},
		"the first retired, one behind": {now, old, second.Pool(), first.Pool(), true},
	} {
		all := func(ID) error { return nil }
		_, serverErr, clientErr := shake(t, ServerTLS(c.server, c.serverRoots, true, all, frozen), ClientTLS(c.client, c.clientRoots, all, frozen))
		if failed := serverErr != nil || clientErr != nil; failed != c.fails {
			t.Errorf("%s: %v, %v", name, serverErr, clientErr)
		}
	}
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := NewCA("other", other, testNow, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CrossSign(first, foreign, testNow); err == nil {
		t.Error("the CA of another cluster was cross-signed")
	}
}

func run(t *testing.T, dir string, argv ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestTheOperatorsOpensslSignsTheRequestAndTheChainVerifies(t *testing.T) {
	t.Parallel()
	openssl := testenv.RequireTool(t, "openssl")
	dir := t.TempDir()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := NewCA("demo", key, time.Now(), rand.Reader) // openssl has only the real clock
	if err != nil {
		t.Fatal(err)
	}
	csr, err := ca.Request()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.csr", csr)
	for _, line := range []string{
		"req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.crt -days 30 -subj /O=Operator/CN=Root -addext basicConstraints=critical,CA:true",
		"req -newkey rsa:2048 -nodes -keyout mid.key -out mid.csr -subj /O=Operator/CN=Middle -addext basicConstraints=critical,CA:true",
		"x509 -req -in mid.csr -CA root.crt -CAkey root.key -CAcreateserial -days 20 -copy_extensions copy -out mid.crt",
		"x509 -req -in ca.csr -CA mid.crt -CAkey mid.key -CAcreateserial -days 10 -copy_extensions copy -out ca.crt",
		"x509 -req -in ca.csr -CA mid.crt -CAkey mid.key -CAcreateserial -days 10 -out plain.crt",
	} {
		if out, err := run(t, dir, append([]string{openssl}, strings.Fields(line)...)...); err != nil {
			t.Fatalf("openssl %s: %s", line, out)
		}
	}
	read := func(names ...string) (all []byte) {
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		return all
	}
	chain, issuer, err := CheckChain(ca.CertPEM(), read("ca.crt", "mid.crt", "root.crt"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if certs, err := ParseChain(chain); err != nil || len(certs) != 2 || !strings.Contains(issuer, "Root") {
		t.Errorf("%d certificates, issuer %s, %v", len(certs), issuer, err)
	}
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"not a CA":    {read("plain.crt", "mid.crt"), "not a CA"},
		"another key": {read("mid.crt", "root.crt"), "another key"},
		"wrong order": {read("ca.crt", "root.crt"), "not signed by"},
		"own":         {ca.CertPEM(), "self-signed"},
		"no PEM":      {[]byte("x"), "PEM"},
	} {
		if _, _, err := CheckChain(ca.CertPEM(), c.text, time.Now()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}

	leaf, leafKey := testIssue(t, ca.Behind(chain), jailProfile(), time.Now())
	keyPEM, err := EncodeKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	jail := t.TempDir()
	if err := WriteJailFiles(openRoot(t, jail), JailFiles{KeyPEM: keyPEM, ChainPEM: leaf, CAPEM: ca.CertPEM(), UID: os.Getuid(), GID: os.Getgid()}); err != nil {
		t.Fatal(err)
	}
	crt := filepath.Join(jail, "etc/ssl/rc/host.crt")
	for _, trust := range []string{filepath.Join(dir, "root.crt"), filepath.Join(jail, "etc/ssl/rc/cluster.crt")} {
		if out, err := run(t, dir, openssl, "verify", "-CAfile", trust, "-untrusted", crt, crt); err != nil {
			t.Errorf("openssl verify -CAfile %s: %s", trust, out)
		}
	}
}

func TestASealedKeyOpensWithItsPassphraseOnly(t *testing.T) {
	t.Parallel()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := SealKey(plain, []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if !IsSealed(sealed) || IsSealed(plain) || bytes.Contains(sealed, plain[30:60]) {
		t.Error("the key is not sealed")
	}
	if again, err := OpenKey(sealed, []byte("correct horse")); err != nil || !bytes.Equal(again, plain) {
		t.Errorf("opened: %v", err)
	}
	if _, err := OpenKey(sealed, []byte("wrong horse")); err == nil {
		t.Error("it opened with another passphrase")
	}
	if _, err := OpenKey(bytes.Replace(sealed, []byte("Public: "), []byte("Public: 0"), 1), []byte("correct horse")); err == nil {
		t.Error("a changed header was taken")
	}
	if _, err := SealKey(plain, nil); err == nil {
		t.Error("it was sealed without a passphrase")
	}
}

func TestARingIsSealedAndUnlocked(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	open := func(pass string) (*Ring, error) { return FoundRing(dir, "demo", testNow, rand.Reader, []byte(pass)) }
	r, err := open("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Signer(); err != nil {
		t.Fatal(err)
	}
	first := r.PEM()
	if err := r.Seal([]byte("one")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "ca.key")); err != nil || !IsSealed(b) {
		t.Errorf("ca.key is in the clear (%v)", err)
	}
	if _, err := r.Signer(); err != nil {
		t.Errorf("sealing locked it: %v", err)
	}
	if _, err := open("two"); err == nil {
		t.Error("it opened with another passphrase")
	}
	if r, err = open(""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Signer(); err != ErrLocked {
		t.Errorf("locked: %v", err)
	}
	next := testCA(t)
	key, err := EncodeKey(next.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Put(next.CertPEM(), key); err != ErrLocked {
		t.Errorf("a key was put in the clear beside a sealed one: %v", err)
	}
	if err := r.Unlock([]byte("two")); err != ErrPassphrase {
		t.Errorf("unlocked with another passphrase: %v", err)
	}
	if err := r.Unlock([]byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := r.Put(first, key); err == nil {
		t.Error("the key of another CA was put")
	}
	if err := r.Put(next.CertPEM(), key); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "ca-"+next.ID()+".key")); err != nil || !IsSealed(b) {
		t.Errorf("the second key is in the clear (%v)", err)
	}
	if err := r.Trust([]Trusted{{PEM: next.CertPEM()}, {PEM: first}}); err != nil {
		t.Fatal(err)
	}
	if ca, err := r.Signer(); err != nil || ca.ID() != next.ID() {
		t.Errorf("%v signs, %v", ca, err)
	}
	if err := r.Trust([]Trusted{{PEM: next.CertPEM(), Behind: []byte{}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ca.key")); err == nil {
		t.Error("the key of a CA that has retired is still there")
	}
	if r, err = open("one"); err != nil { // the next start
		t.Fatal(err)
	}
	if ca, err := r.Signer(); err != nil || ca.ID() != next.ID() || r.Cluster() != "demo" {
		t.Errorf("after a restart: %v", err)
	}
	if err := r.Seal(nil); err != nil {
		t.Fatal(err)
	}
	if sealed, locked := r.Sealed(); sealed || locked {
		t.Error("still sealed")
	}
}
