package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// BenchmarkKeyAndCertificate is a jail's whole way: key, CSR, proof, issue.
func BenchmarkKeyAndCertificate(b *testing.B) {
	ca := testCA(b)
	for b.Loop() {
		testIssue(b, ca, jailProfile(), testNow)
	}
}

// BenchmarkBareX509 is the peer: crypto/x509 without CSR and checks.
func BenchmarkBareX509(b *testing.B) {
	ca := testCA(b)
	for b.Loop() {
		key, err := NewKey()
		if err != nil {
			b.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "web-1"},
			NotBefore: testNow, NotAfter: testNow.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
			DNSNames: []string{"web-1.prod.rex.internal", "web.prod.rex.internal"}, IPAddresses: []net.IP{net.IPv4(10, 66, 0, 5)},
			URIs: []*url.URL{{Scheme: "spiffe", Host: "demo", Path: "/jail/web-1"}},
		}
		if _, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key); err != nil {
			b.Fatal(err)
		}
	}
}
