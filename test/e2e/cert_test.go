//go:build linux

package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func TestACertificateIsRenewedWithoutARestart(t *testing.T) {
	t.Parallel()
	openssl := testenv.RequireTool(t, "openssl")
	const life = 24 * time.Second
	h := newHost(t, "-jail-cert-life", life.String())
	h.start(t)
	h.apply(t, file("cert", "10.175.1.0/24", box("cert-1", "cert", forever)))
	before := h.ps(t)["cert-1"]
	pid := h.pid(before.UUID)
	read := func(file string) string { return h.must(t, "exec", "cert-1", "--", "cat", "/etc/ssl/rc/"+file) }
	first, key := leaf(t, read("host.crt")), read("host.key")
	if left := time.Until(first.NotAfter); left > life || left < life/3 {
		t.Fatalf("the certificate is good for %s, want at most %s", left, life)
	}
	h.kill(t) // the daemon that adopts the jail renews as well
	h.start(t)

	second := first
	poll(t, life, "another certificate, before the first has ended", func() error {
		if second = leaf(t, read("host.crt")); second.SerialNumber.Cmp(first.SerialNumber) == 0 {
			return errors.New("it is still the first")
		}
		return nil
	})
	now := time.Now()
	if !now.Before(first.NotAfter) {
		t.Errorf("the first certificate ended at %s, the second came at %s", first.NotAfter, now)
	}
	// Two thirds of its life, give or take a thirtieth and the whole seconds of X.509.
	if early := first.NotAfter.Add(-life / 3).Add(-life/30 - 2*time.Second); now.Before(early) {
		t.Errorf("renewed at %s already, want not before %s", now, early)
	}
	if got := read("host.key"); got != key {
		t.Error("the key was changed with the certificate")
	}
	ca, crt := h.write(t, "cluster.crt", read("cluster.crt")), h.write(t, "host.crt", read("host.crt"))
	if r := command(t.Context(), "", nil, openssl, "verify", "-CAfile", ca, "-untrusted", crt, "-verify_hostname", "cert-1.cert.rex.internal", crt); r.code != 0 {
		t.Errorf("openssl verify: %s", r)
	}
	if r := h.ps(t)["cert-1"]; h.pid(r.UUID) != pid || r.Restarts != 0 {
		t.Errorf("the jail was restarted: pid %d, then %d", pid, h.pid(r.UUID))
	}
}

// leaf is the first certificate of a chain.
func leaf(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no PEM: %q", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAJailsCertificateComesUnderTheOperatorsCA and is another, with another
// key, once it is revoked. The jail goes on all the while.
func TestAJailsCertificateComesUnderTheOperatorsCA(t *testing.T) {
	t.Parallel()
	openssl := testenv.RequireTool(t, "openssl")
	h := newHost(t)
	h.start(t)
	h.apply(t, file("chain", "10.175.2.0/24", box("chain-1", "chain", forever)))
	before := h.ps(t)["chain-1"]
	pid := h.pid(before.UUID)
	read := func(file string) string { return h.must(t, "exec", "chain-1", "--", "cat", "/etc/ssl/rc/"+file) }
	first, key := leaf(t, read("host.crt")), read("host.key")

	dir := t.TempDir()
	csr := h.write(t, "ca.csr", h.must(t, "ca", "csr"))
	root, made := filepath.Join(dir, "root.crt"), filepath.Join(dir, "ca.crt")
	for _, argv := range [][]string{
		{"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", filepath.Join(dir, "root.key"), "-out", root, "-days", "30", "-subj", "/O=Operator/CN=Root", "-addext", "basicConstraints=critical,CA:true"},
		{"x509", "-req", "-in", csr, "-CA", root, "-CAkey", filepath.Join(dir, "root.key"), "-CAcreateserial", "-days", "10", "-copy_extensions", "copy", "-out", made},
	} {
		if r := command(t.Context(), "", nil, append([]string{openssl}, argv...)...); r.code != 0 {
			t.Fatal(r)
		}
	}
	h.must(t, "ca", "import", made)
	verified := func() error {
		crt, cluster := h.write(t, "host.crt", read("host.crt")), h.write(t, "cluster.crt", read("cluster.crt"))
		for _, trust := range []string{root, cluster} {
			if r := command(t.Context(), "", nil, openssl, "verify", "-CAfile", trust, "-untrusted", crt, "-verify_hostname", "chain-1.chain.rex.internal", crt); r.code != 0 {
				return fmt.Errorf("openssl verify under %s: %s", trust, r)
			}
		}
		return nil
	}
	poll(t, time.Minute, "host.crt leads to the operator's root, and to the cluster's CA", verified)
	if got := leaf(t, read("host.crt")); got.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("the certificate was signed anew for its chain")
	}

	h.must(t, "ca", "revoke", "jail/chain-1", "--yes")
	poll(t, time.Minute, "another key and certificate", func() error {
		if read("host.key") == key || leaf(t, read("host.crt")).SerialNumber.Cmp(first.SerialNumber) == 0 {
			return errors.New("it is still the first")
		}
		return verified()
	})

	h.must(t, "ca", "rotate", "--retire-after", "2s", "--yes")
	poll(t, time.Minute, "a certificate of the next CA, and only that one trusted", func() error {
		if n := strings.Count(read("cluster.crt"), "BEGIN"); n != 1 || strings.Contains(h.must(t, "ca", "show", "--no-header"), "old") {
			return fmt.Errorf("%d CAs", n)
		}
		crt, cluster := h.write(t, "host.crt", read("host.crt")), h.write(t, "cluster.crt", read("cluster.crt"))
		if r := command(t.Context(), "", nil, openssl, "verify", "-CAfile", cluster, "-untrusted", crt, crt); r.code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	})
	if r := h.ps(t)["chain-1"]; h.pid(r.UUID) != pid || r.Restarts != 0 {
		t.Errorf("the jail was restarted: pid %d, then %d", pid, h.pid(r.UUID))
	}
}
