package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func jailProfile() Profile {
	return Profile{
		ID:       ID{Role: RoleJail, Name: "web-1"},
		DNSNames: []string{"web-1.prod.rex.internal", "web.prod.rex.internal"},
		IPs:      []netip.Addr{netip.MustParseAddr("10.66.0.5"), netip.MustParseAddr("fd00::5")},
		Lifetime: 24 * time.Hour, Server: true, Client: true,
	}
}

func TestIssuedCertificateSaysWhatTheProfileSays(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	chain, _ := testIssue(t, ca, jailProfile(), testNow)
	cert, id, err := Verify(chain, ca.Pool(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	if want := (ID{"demo", RoleJail, "web-1"}); id != want {
		t.Errorf("identity %v, want %v", id, want)
	}
	if !slices.Equal(cert.DNSNames, jailProfile().DNSNames) || len(cert.IPAddresses) != 2 {
		t.Errorf("names %v %v", cert.DNSNames, cert.IPAddresses)
	}
	if got, want := cert.NotBefore, testNow.Add(-Backdate); !got.Equal(want) {
		t.Errorf("valid from %v, want %v", got, want)
	}
	if got, want := cert.NotAfter, testNow.Add(24*time.Hour); !got.Equal(want) {
		t.Errorf("valid until %v, want %v", got, want)
	}
	if cert.IsCA {
		t.Error("a jail's certificate is a CA")
	}
}

func TestNamesOfTheCSRAreIgnored(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "root"},
		DNSNames: []string{"victim.prod.rex.internal"},
		URIs:     []*url.URL{{Scheme: "spiffe", Host: "demo", Path: "/user/admin"}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := Issue(ca, forged, jailProfile(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	cert, id, err := Verify(chain, ca.Pool(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	if id.Role != RoleJail || slices.Contains(cert.DNSNames, "victim.prod.rex.internal") || cert.Subject.CommonName == "root" {
		t.Errorf("the CSR's wishes came through: %v %v %v", id, cert.DNSNames, cert.Subject)
	}
}

func TestCSRWithoutProofOfPossessionIsRefused(t *testing.T) {
	t.Parallel()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := NewCSR(key, "web-1")
	if err != nil {
		t.Fatal(err)
	}
	csr[len(csr)-1] ^= 1
	if _, err := Issue(testCA(t), csr, jailProfile(), testNow); err == nil {
		t.Error("a CSR with a broken signature was signed")
	}
}

func TestWeakKeysAreRefused(t *testing.T) {
	t.Parallel()
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	csrSmall, err := NewCSR(small, "x")
	if err != nil {
		t.Fatal(err)
	}
	csrRSA, err := NewCSR(rsaKey, "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, csr := range [][]byte{csrSmall, csrRSA, nil, make([]byte, maxCSR+1)} {
		if _, err := Issue(testCA(t), csr, jailProfile(), testNow); err == nil {
			t.Errorf("a CSR of %d bytes that must not be signed was", len(csr))
		}
	}
}

func TestProfileIsChecked(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := NewCSR(key, "x")
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]func(*Profile){
		"other cluster":  func(p *Profile) { p.ID.Cluster = "other" },
		"unknown role":   func(p *Profile) { p.ID.Role = "root" },
		"path in name":   func(p *Profile) { p.ID.Name = "a/b" },
		"dots as name":   func(p *Profile) { p.ID.Name = ".." },
		"newline":        func(p *Profile) { p.ID.Name = "a\nb" },
		"no name":        func(p *Profile) { p.ID.Name = "" },
		"wildcard":       func(p *Profile) { p.DNSNames = []string{"*.rex.internal"} },
		"NUL":            func(p *Profile) { p.DNSNames = []string{"a\x00.rex.internal"} },
		"trailing dot":   func(p *Profile) { p.DNSNames = []string{"a.rex.internal."} },
		"long label":     func(p *Profile) { p.DNSNames = []string{strings.Repeat("a", 64)} },
		"zone":           func(p *Profile) { p.IPs = []netip.Addr{netip.MustParseAddr("fe80::1%eth0")} },
		"no address":     func(p *Profile) { p.IPs = []netip.Addr{{}} },
		"no lifetime":    func(p *Profile) { p.Lifetime = 0 },
		"no usage":       func(p *Profile) { p.Server, p.Client = false, false },
		"too many names": func(p *Profile) { p.DNSNames = slices.Repeat([]string{"a"}, maxNames+1) },
	}
	for name, spoil := range bad {
		p := jailProfile()
		spoil(&p)
		if _, err := Issue(ca, csr, p, testNow); err == nil {
			t.Errorf("%s: was signed", name)
		}
	}
	if _, err := Issue(ca, csr, jailProfile(), testNow.Add(2*CALifetime)); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("after the CA's end: error %v, want one that names the clock", err)
	}
	long := jailProfile()
	long.Lifetime = 2 * CALifetime
	chain, err := Issue(ca, csr, long, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if cert, _, err := Verify(chain, ca.Pool(), testNow); err != nil || cert.NotAfter.After(ca.cert.NotAfter) {
		t.Errorf("certificate outlives its CA (%v)", err)
	}
}

func TestVerifyNamesTheClock(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	chain, _ := testIssue(t, ca, jailProfile(), testNow)
	_, _, err := Verify(chain, ca.Pool(), testNow.Add(25*time.Hour))
	if err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("expired: error %v, want one that names the clocks", err)
	}
	if _, _, err := Verify(chain, testCA(t).Pool(), testNow); err == nil {
		t.Error("a certificate of another CA was accepted")
	}
}

func TestRenewalIsAtTwoThirdsAndSpread(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	const life = 30 * time.Hour
	p := jailProfile()
	p.Lifetime = life
	seen := map[time.Time]bool{}
	for range 20 {
		chain, _ := testIssue(t, ca, p, testNow)
		cert, _, err := Verify(chain, ca.Pool(), testNow)
		if err != nil {
			t.Fatal(err)
		}
		at := RenewAt(cert)
		if again := RenewAt(cert); !again.Equal(at) {
			t.Fatalf("two answers for one certificate: %v and %v", at, again)
		}
		if age := at.Sub(testNow); age < 19*time.Hour || age > 21*time.Hour {
			t.Errorf("renewal after %v of %v", age, life)
		}
		seen[at] = true
	}
	if len(seen) < 10 {
		t.Errorf("20 certificates renew at only %d times", len(seen))
	}
	p.Lifetime = 10 * time.Second // shorter than Backdate: must not be due at once
	chain, _ := testIssue(t, ca, p, testNow)
	cert, _, err := Verify(chain, ca.Pool(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	if at := RenewAt(cert); !at.After(testNow.Add(6*time.Second)) || !at.Before(testNow.Add(8*time.Second)) {
		t.Errorf("a 10 s certificate renews after %v", at.Sub(testNow))
	}
}

func TestOpenSSLAcceptsTheChain(t *testing.T) {
	t.Parallel()
	openssl := testenv.RequireTool(t, "openssl")
	dir := t.TempDir()
	now := time.Now() // openssl looks at the real clock
	ca, err := OpenCA(dir, "demo", now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain, _ := testIssue(t, ca, jailProfile(), now)
	for name, data := range map[string][]byte{"cluster.crt": ca.CertPEM(), "host.crt": append(chain, ca.CertPEM()...)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, extra := range [][]string{nil, {"-x509_strict"}, {"-purpose", "sslserver", "-verify_hostname", "web-1.prod.rex.internal"}, {"-verify_ip", "10.66.0.5"}} {
		args := append([]string{"verify", "-CAfile", "cluster.crt"}, append(extra, "host.crt")...)
		if out := run(args...); !strings.Contains(out, "host.crt: OK") {
			t.Errorf("%v: %s", args, out)
		}
	}
	text := run("x509", "-in", "host.crt", "-noout", "-text")
	for _, want := range []string{
		"DNS:web-1.prod.rex.internal", "DNS:web.prod.rex.internal", "IP Address:10.66.0.5", "IP Address:FD00:0:0:0:0:0:0:5",
		"URI:spiffe://demo/jail/web-1", "CA:FALSE", "TLS Web Server Authentication, TLS Web Client Authentication", "ecdsa-with-SHA256",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("openssl x509 -text lacks %q:\n%s", want, text)
		}
	}
}

func TestDescribeTellsNamesAndDates(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	chain, _ := testIssue(t, ca, jailProfile(), testNow)
	d, err := Describe(chain)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"spiffe://demo/jail/web-1", "web-1.prod.rex.internal web.prod.rex.internal", "10.66.0.5 fd00::5", "server client", "2026-11-21T12:00:00Z", "ECDSA"} {
		if !strings.Contains(d.String(), want) {
			t.Errorf("description lacks %q:\n%s", want, d)
		}
	}
	if _, err := Describe([]byte("no certificate")); err == nil {
		t.Error("described something that is no certificate")
	}
}

func FuzzProvenKey(f *testing.F) {
	key, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	csr, err := NewCSR(key, "web-1")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(csr)
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, der []byte) {
		if public, err := provenKey(der); err == nil && public == nil {
			t.Error("neither key nor error")
		}
	})
}
