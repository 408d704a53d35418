package bundle_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// today is the clock of these tests.
var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// newKey makes a self-signed signer that is valid from a day before today.
func newKey(t testing.TB, name, kind string, life time.Duration) bundle.Key {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: today.Add(-24 * time.Hour), NotAfter: today.Add(-24 * time.Hour).Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := bundle.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// payload stands for an archive.
var payload = []byte("not really an archive")

func meta(name string) bundle.Meta {
	s := sha256.Sum256(payload)
	return bundle.Meta{
		Name: name, Version: 7, Created: today, Platform: "linux/amd64", Payload: name + ".tar.zst",
		Size: int64(len(payload)), Digest: "sha256:" + hex.EncodeToString(s[:]), Parent: "debian:bookworm",
	}
}

// signed are the papers of a bundle by these signers.
func signed(t testing.TB, m bundle.Meta, keys ...bundle.Key) bundle.Papers {
	t.Helper()
	p := bundle.Papers{Name: m.Name, Signatures: map[string][]byte{}}
	for _, k := range keys {
		files, err := bundle.Sign(m, k)
		if err != nil {
			t.Fatal(err)
		}
		p.Meta, p.Hashes = files[0].Content, files[1].Content
		p.Signatures[k.Signer.Fingerprint] = files[2].Content
	}
	return p
}
