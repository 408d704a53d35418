//go:build linux

package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
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
