package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Identity is the certificate and key that a process presents. It can be
// replaced while connections are being made: a renewal needs no restart.
type Identity struct {
	cert atomic.Pointer[tls.Certificate] // immutable once published
}

// NewIdentity holds the pair chainPEM, keyPEM.
func NewIdentity(chainPEM, keyPEM []byte) (*Identity, error) {
	id := &Identity{}
	return id, id.Set(chainPEM, keyPEM)
}

// Set replaces the pair for all connections made from now on.
func (id *Identity) Set(chainPEM, keyPEM []byte) error {
	cert, err := tls.X509KeyPair(chainPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("use a certificate: %w", err)
	}
	id.cert.Store(&cert)
	return nil
}

// Leaf is the certificate presented now.
func (id *Identity) Leaf() *x509.Certificate { return id.cert.Load().Leaf }

// Chain is the certificate presented now and what follows it, PEM.
func (id *Identity) Chain() []byte {
	var b bytes.Buffer
	for _, der := range id.cert.Load().Certificate {
		_ = pem.Encode(&b, &pem.Block{Type: pemCert, Bytes: der}) // a buffer takes all
	}
	return b.Bytes()
}

// Allow decides about an authenticated peer; an error refuses it, in TLS.
type Allow func(ID) error

// AllowRoles accepts peers of one cluster that have one of roles.
func AllowRoles(cluster string, roles ...Role) Allow {
	return func(id ID) error {
		if id.Cluster != cluster {
			return fmt.Errorf("%s is not of cluster %s", id, cluster)
		}
		for _, role := range roles {
			if id.Role == role {
				return nil
			}
		}
		return fmt.Errorf("%s may not connect here: roles accepted are %v", id, roles)
	}
}

// ServerTLS is a TLS 1.3 server that presents id. Clients with a certificate
// must have one of roots' that allow accepts. With needCert false a client may
// come without (a browser, a token); PeerID then returns ErrNoPeer.
func ServerTLS(id *Identity, roots *x509.CertPool, needCert bool, allow Allow, now func() time.Time) *tls.Config {
	auth := tls.VerifyClientCertIfGiven
	if needCert {
		auth = tls.RequireAndVerifyClientCert
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		Time:           now,
		ClientAuth:     auth,
		ClientCAs:      roots,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.cert.Load(), nil },
		// Called on resumed sessions too, unlike VerifyPeerCertificate.
		VerifyConnection: func(state tls.ConnectionState) error {
			peer, err := PeerID(state)
			if errors.Is(err, ErrNoPeer) && !needCert {
				return nil
			}
			if err != nil {
				return err
			}
			return allow(peer)
		},
	}
}

// ClientTLS is a TLS 1.3 client that presents id (nil: none) to servers whose
// certificate comes from roots and whose SPIFFE identity allow accepts. Host
// names and addresses are not compared: a host is known by its identity,
// whatever address it is reached by.
func ClientTLS(id *Identity, roots *x509.CertPool, allow Allow, now func() time.Time) *tls.Config {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Time:               now,
		InsecureSkipVerify: true, // only the name check is skipped: VerifyConnection does the rest
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return ErrNoPeer
			}
			peer, err := verify(state.PeerCertificates, roots, now(), x509.ExtKeyUsageServerAuth)
			if err != nil {
				return err
			}
			return allow(peer)
		},
	}
	if id != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return id.cert.Load(), nil }
	}
	return config
}

// AlsoCheck makes conf refuse peers whose certificate check does not like,
// after all else is well.
func AlsoCheck(conf *tls.Config, check func(*x509.Certificate) error) *tls.Config {
	if check == nil {
		return conf
	}
	verify := conf.VerifyConnection
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil || len(state.PeerCertificates) == 0 {
			return err
		}
		return check(state.PeerCertificates[0])
	}
	return conf
}

// ErrNoPeer says that the other end of a connection showed no certificate.
var ErrNoPeer = errors.New("the peer presented no certificate")

// PeerID says who a verified connection comes from.
func PeerID(state tls.ConnectionState) (ID, error) {
	if len(state.PeerCertificates) == 0 {
		return ID{}, ErrNoPeer
	}
	return CertID(state.PeerCertificates[0])
}
