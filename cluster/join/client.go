package join

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rexcarcer/rexcarcer/pki"
)

// Request is what a host sends to join.
type Request struct {
	Token  string `json:"token"` // id
	Secret string `json:"secret"`
	Host   string `json:"host"`           // id that it chose, new for each data directory
	Name   string `json:"name"`           // host name
	Role   string `json:"role,omitempty"` // "": the token's
	Peer   string `json:"peer"`           // HOST:PORT of its cluster port
	CSR    []byte `json:"csr"`            // DER
}

// Answer is what a host that was admitted gets.
type Answer struct {
	Cluster    string            `json:"cluster"`
	Role       string            `json:"role"`
	Chain      string            `json:"chain"` // PEM of its certificate
	CA         string            `json:"ca"`    // PEM of all that the cluster trusts
	Peers      map[string]string `json:"peers"` // HOST:PORT by id
	Generation uint64            `json:"generation"`
}

type failure struct {
	Error string `json:"error"`
}

// ErrOther says that the other end is not of the token's cluster. Nothing
// secret was sent to it.
var ErrOther = errors.New("what answers there is not a server of the token's cluster; nothing secret was sent: check the address, and if it is right, somebody is in between")

// limit of a request and of an answer, in bytes.
const limit = 256 << 10

// Do joins: it sends r with the token's id and secret to the server at addr
// and checks what comes back. key is the one that r.CSR was made with.
func Do(ctx context.Context, addr string, token Token, r Request, key crypto.Signer, now func() time.Time) (Answer, error) {
	r.Token, r.Secret = token.ID, token.Secret
	body, err := json.Marshal(r)
	if err != nil {
		return Answer{}, err
	}
	var root *x509.Certificate
	trip := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, ca, err := dial(ctx, addr, token, now)
		root = ca
		return c, err
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://server/join", bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	res, err := (&http.Client{Transport: trip}).Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("join at %s: %w", addr, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, limit))
	if err != nil {
		return Answer{}, fmt.Errorf("join at %s: %w", addr, err)
	}
	if res.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(text, &f) != nil || f.Error == "" {
			f.Error = res.Status
		}
		return Answer{}, fmt.Errorf("join at %s: %s", addr, f.Error)
	}
	var a Answer
	if err := json.Unmarshal(text, &a); err != nil {
		return Answer{}, fmt.Errorf("join at %s: read the answer: %w", addr, err)
	}
	if err := a.check(root, r, key, now()); err != nil {
		return Answer{}, fmt.Errorf("join at %s: %w", addr, err)
	}
	return a, nil
}

// dial opens the connection and returns the CA that the token names, once the
// other end has proven that it is a server under it.
func dial(ctx context.Context, addr string, token Token, now func() time.Time) (net.Conn, *x509.Certificate, error) {
	var root *x509.Certificate
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"rexcarcer-join"}, Time: now,
		InsecureSkipVerify: true, // VerifyConnection holds the token's fingerprint against it
		VerifyConnection: func(state tls.ConnectionState) (err error) {
			root, err = pinned(state.PeerCertificates, token.CA, now())
			return err
		},
	}
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	t := tls.Client(c, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return &plain{t}, root, nil
}

// plain hides that a connection is TLS from http.Transport.
type plain struct{ net.Conn }

// pinned finds the CA by its fingerprint among certs and checks the leaf under it.
func pinned(certs []*x509.Certificate, want [sha256.Size]byte, now time.Time) (*x509.Certificate, error) {
	for _, ca := range certs {
		if sha256.Sum256(ca.Raw) != want || !ca.IsCA {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		_, id, err := pki.Verify(encode(certs), roots, now)
		if err != nil {
			return nil, errors.Join(ErrOther, err)
		}
		if id.Role != pki.RoleServer {
			return nil, fmt.Errorf("%w (it is %s)", ErrOther, id)
		}
		return ca, nil
	}
	return nil, ErrOther
}

func encode(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer takes all
	}
	return b.Bytes()
}

// check wants a certificate for this very host and key, under root.
func (a Answer) check(root *x509.Certificate, r Request, key crypto.Signer, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(root)
	leaf, id, err := pki.Verify([]byte(a.Chain), roots, now)
	if err != nil {
		return fmt.Errorf("the certificate that it issued: %w", err)
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) || id.Name != r.Host || string(id.Role) != a.Role || id.Cluster != a.Cluster {
		return fmt.Errorf("the certificate that it issued is for %s and not for this host", id)
	}
	if _, err := pki.NewPool([]byte(a.CA)); err != nil {
		return fmt.Errorf("the CA that it names: %w", err)
	}
	return nil
}
