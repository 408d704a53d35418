package api_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign writes name.crt and name.key; the role goes into the organization.
func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.Subject.CommonName = name
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(a.dir, name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return out, key
}

func (a *authority) client(name, role string) {
	a.sign(name, &x509.Certificate{Subject: pkix.Name{Organization: []string{role}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// serveTLS runs the API over TLS, which demands certificates of a.
func serveTLS(t *testing.T, a *authority, c *apitest.Cluster) (addr string) {
	t.Helper()
	a.sign("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, "server.crt"), filepath.Join(a.dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s, err := c.Server(api.Config{Plan: planner, Identify: api.IdentifyTLS(func(c *x509.Certificate) (string, string, error) {
		return "user/" + c.Subject.CommonName, c.Subject.Organization[0], nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"http/1.1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "https://" + l.Addr().String()
}

// TestTLSIdentityDecides is case 30 of failures.md over real connections:
// without certificate or with that of another CA, TLS refuses; with a wrong
// role, 403; with the right one all works, exec too.
func TestTLSIdentityDecides(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	c := apitest.NewCluster(t, nil)
	addr := serveTLS(t, a, c)
	a.client("anna", api.RoleAdmin)
	a.client("jail", api.RoleJail)
	other.client("eve", api.RoleAdmin)
	connect := func(from *authority, name string) *api.Client {
		o := api.Options{Addr: addr, CACert: filepath.Join(a.dir, "ca.crt")}
		if name != "" {
			o.ClientCert, o.ClientKey = filepath.Join(from.dir, name+".crt"), filepath.Join(from.dir, name+".key")
		}
		client, err := api.NewClient(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	var answer *api.Error
	if _, err := connect(nil, "").Status(t.Context()); err == nil || errors.As(err, &answer) {
		t.Errorf("without a certificate: got %v, want TLS to refuse", err)
	}
	if _, err := connect(other, "eve").Status(t.Context()); err == nil || errors.As(err, &answer) {
		t.Errorf("with another CA's certificate: got %v, want TLS to refuse", err)
	}
	if _, err := connect(a, "jail").Status(t.Context()); !errors.As(err, &answer) || answer.Status != http.StatusForbidden {
		t.Errorf("with the role jail: got %v, want 403", err)
	}
	anna := connect(a, "anna")
	apply(t, anna, "web")
	events, err := anna.History(t.Context(), "wish demo", 1)
	if err != nil || len(events) != 1 || events[0].By != "user/anna" {
		t.Errorf("got %v, %v; want it said by user/anna", events, err)
	}
	var out bytes.Buffer
	code, err := anna.Exec(t.Context(), "web", api.ExecRequest{Argv: []string{"echo", "hi"}}, api.ExecStreams{Stdout: &out, Stderr: io.Discard})
	if err != nil || code != 0 || out.String() != "hi\n" {
		t.Errorf("exec over TLS: %d, %q, %v", code, out.String(), err)
	}
}
