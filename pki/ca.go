package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

const (
	// CALifetime is how long a cluster CA lives.
	CALifetime = 10 * 365 * 24 * time.Hour
	// Backdate is how far before its issue a certificate begins to be valid,
	// for hosts whose clock is behind.
	Backdate = 5 * time.Minute

	caKeyFile  = "ca.key"
	caCertFile = "ca.crt"
)

// CA signs for one cluster. It is immutable and may be used from many
// goroutines if its random source may.
type CA struct {
	cluster string
	cert    *x509.Certificate
	certPEM []byte
	key     crypto.Signer
	rand    io.Reader
	behind  []byte // PEM that follows each certificate which it signs
}

// NewCA makes a self-signed CA around key. cluster is its SPIFFE trust domain:
// lower-case letters, digits, '.', '-', '_'. random gives the serials.
func NewCA(cluster string, key crypto.Signer, now time.Time, random io.Reader) (*CA, error) {
	if _, err := (ID{Cluster: cluster, Role: RoleHost, Name: "x"}).uri(); err != nil {
		return nil, fmt.Errorf("make the CA of cluster %q: %w", cluster, err)
	}
	serial, err := newSerial(random)
	if err != nil {
		return nil, fmt.Errorf("make the CA of cluster %q: %w", cluster, err)
	}
	keyID, err := subjectKeyID(key.Public())
	if err != nil {
		return nil, fmt.Errorf("make the CA of cluster %q: %w", cluster, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// Each CA of a cluster has a name of its own: chains are built by name.
		Subject:      pkix.Name{Organization: []string{"RexCarcer"}, CommonName: "RexCarcer CA " + clip(cluster, 40) + " " + hex.EncodeToString(keyID[:4])},
		SubjectKeyId: keyID,
		NotBefore:    now.UTC().Add(-Backdate).Truncate(time.Second),
		NotAfter:     now.UTC().Add(CALifetime).Truncate(time.Second),
		KeyUsage:     x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:         true,
		// One CA below this one: a rotation cross-signs the next CA with it.
		MaxPathLen:            1,
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: cluster}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the CA of cluster %q: %w", cluster, err)
	}
	return LoadCA(pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: der}), key, random)
}

// LoadCA makes a CA of its certificate and key.
func LoadCA(certPEM []byte, key crypto.Signer, random io.Reader) (*CA, error) {
	certs, err := ParseChain(certPEM)
	if err != nil {
		return nil, fmt.Errorf("load the CA: %w", err)
	}
	cert := certs[0]
	if !cert.IsCA || len(cert.URIs) != 1 || cert.URIs[0].Scheme != "spiffe" {
		return nil, fmt.Errorf("load the CA: certificate %q is not a cluster CA", cert.Subject)
	}
	if !samePublic(cert.PublicKey, key.Public()) {
		return nil, fmt.Errorf("load the CA: certificate %q and key do not belong together", cert.Subject)
	}
	return &CA{cluster: cert.URIs[0].Host, cert: cert, certPEM: encodeCerts(cert), key: key, rand: random}, nil
}

// OpenCA loads the CA kept in dir (ca.key mode 0600, ca.crt), or makes it at
// the first start. A certificate whose key is gone is an error: making another
// CA would cut off every certificate that was issued. A key without a
// certificate is an interrupted first start, which nobody has seen: the
// certificate is made now.
func OpenCA(dir, cluster string, now time.Time, random io.Reader) (*CA, error) {
	certPath := filepath.Join(dir, caCertFile)
	certPEM, err := os.ReadFile(certPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	if err == nil {
		if _, err := os.Stat(filepath.Join(dir, caKeyFile)); err != nil {
			return nil, fmt.Errorf("open the CA: %s is there but its key is not: restore %s from a backup: %w", certPath, caKeyFile, err)
		}
	}
	key, err := EnsureKey(filepath.Join(dir, caKeyFile))
	if err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	if certPEM != nil {
		return LoadCA(certPEM, key, random)
	}
	ca, err := NewCA(cluster, key, now, random)
	if err != nil {
		return nil, err
	}
	if err := renameio.WriteFile(certPath, ca.certPEM, 0o644, renameio.IgnoreUmask()); err != nil {
		return nil, fmt.Errorf("open the CA: write its certificate: %w", err)
	}
	return ca, nil
}

// Cluster is the name that ca signs for.
func (ca *CA) Cluster() string { return ca.cluster }

// CertPEM is what everybody trusts: cluster.crt. The caller must not change it.
func (ca *CA) CertPEM() []byte { return ca.certPEM }

// Pool holds ca's certificate as the only root.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// newSerial draws a positive serial of 126 random bits below a leading one, so
// that all have one length (RFC 5280 section 4.1.2.2: positive, 20 octets at
// most).
func newSerial(random io.Reader) (*big.Int, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
