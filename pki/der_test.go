package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestOurEncodingEqualsThatOfCryptoX509(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		p := Profile{ID: ID{"demo", RoleJail, rapid.StringMatching(`[a-zA-Z0-9._-]{0,80}[a-z]`).Draw(r, "name")}}
		for range rapid.IntRange(0, 5).Draw(r, "names") {
			p.DNSNames = append(p.DNSNames, rapid.StringMatching(`[a-z][a-z0-9-]{0,30}[a-z0-9](\.[a-z]{1,10}){0,3}`).Draw(r, "dns"))
		}
		for i := range rapid.IntRange(0, 3).Draw(r, "addresses") {
			p.IPs = append(p.IPs, netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i+1)), netip.MustParseAddr(fmt.Sprintf("fd00::%d", i+1)))
		}
		p.Server = rapid.Bool().Draw(r, "server")
		p.Client = !p.Server || rapid.Bool().Draw(r, "client")
		p.Lifetime = time.Duration(rapid.Int64Range(1, 4e8).Draw(r, "seconds")) * time.Second
		template, err := p.template(ca, testNow)
		if err != nil {
			r.Fatal(err)
		}
		template.NotAfter = testNow.Add(p.Lifetime * time.Duration(rapid.IntRange(1, 3).Draw(r, "far"))) // past 2049 too
		template.SerialNumber = new(big.Int).SetUint64(rapid.Uint64Min(1).Draw(r, "serial"))
		want, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
		if err != nil {
			r.Fatal(err)
		}
		got, err := certificateP256(template, ca, key.Public())
		if err != nil {
			r.Fatal(err)
		}
		ours, theirs := parseCert(r, got), parseCert(r, want)
		if !bytes.Equal(ours.RawTBSCertificate, theirs.RawTBSCertificate) {
			r.Fatalf("got  %x\nwant %x", ours.RawTBSCertificate, theirs.RawTBSCertificate)
		}
		if err := ours.CheckSignatureFrom(ca.cert); err != nil {
			r.Fatal(err)
		}
	})
}

func parseCert(tb rapid.TB, der []byte) *x509.Certificate {
	tb.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

func TestOurRequestEqualsThatOfCryptoX509(t *testing.T) {
	t.Parallel()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := NewCSR(key, "web-1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "web-1"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	want, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.RawTBSCertificateRequest, want.RawTBSCertificateRequest) {
		t.Errorf("got  %x\nwant %x", got.RawTBSCertificateRequest, want.RawTBSCertificateRequest)
	}
	if err := got.CheckSignature(); err != nil {
		t.Error(err)
	}
}
