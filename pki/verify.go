package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// ParseChain reads all certificates of a PEM text, the leaf first.
func ParseChain(chainPEM []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := bytes.TrimSpace(chainPEM); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("parse certificates: text that is not PEM")
		}
		if block.Type != pemCert {
			return nil, fmt.Errorf("parse certificates: PEM block of type %q", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificates: %w", err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("parse certificates: none found")
	}
	return certs, nil
}

// NewPool holds all certificates of caPEM (cluster.crt) as roots.
func NewPool(caPEM []byte) (*x509.CertPool, error) {
	certs, err := ParseChain(caPEM)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return pool, nil
}

// Verify checks at the time now that chainPEM leads to one of roots, and says
// who the certificate speaks for.
func Verify(chainPEM []byte, roots *x509.CertPool, now time.Time) (*x509.Certificate, ID, error) {
	certs, err := ParseChain(chainPEM)
	if err != nil {
		return nil, ID{}, err
	}
	id, err := verify(certs, roots, now, x509.ExtKeyUsageAny)
	return certs[0], id, err
}

func verify(certs []*x509.Certificate, roots *x509.CertPool, now time.Time, usage x509.ExtKeyUsage) (ID, error) {
	intermediates := x509.NewCertPool()
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	leaf := certs[0]
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return ID{}, fmt.Errorf("certificate of %s is valid from %s to %s, here it is %s: check the clocks, else issue it anew: %w", leaf.Subject,
			leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339), err)
	}
	if err != nil {
		return ID{}, fmt.Errorf("certificate of %s: %w", leaf.Subject, err)
	}
	return CertID(leaf)
}

// CertID reads the SPIFFE URI of a certificate: exactly one must be there. It
// proves nothing unless the certificate has been verified.
func CertID(cert *x509.Certificate) (ID, error) {
	if len(cert.URIs) != 1 {
		return ID{}, fmt.Errorf("certificate of %s has %d URIs, want one SPIFFE identity", cert.Subject, len(cert.URIs))
	}
	return ParseID(cert.URIs[0].String())
}

// RenewAt is when to replace cert: at two thirds of the life that was left
// when it was issued, earlier or later by up to a thirtieth of it. The shift
// comes from the serial, so that jails started together do not all renew
// together, yet everyone computes the same time.
func RenewAt(cert *x509.Certificate) time.Time {
	begin := cert.NotBefore.Add(Backdate)
	life := cert.NotAfter.Sub(begin)
	if life <= 0 { // not issued by us, or shorter than a second
		begin, life = cert.NotBefore, cert.NotAfter.Sub(cert.NotBefore)
	}
	const steps = 1 << 16
	serial := cert.SerialNumber.Bytes()
	var low uint16
	for _, b := range serial[max(0, len(serial)-2):] {
		low = low<<8 | uint16(b)
	}
	span := life / 15
	shift := time.Duration(float64(span)*float64(low)/steps) - span/2
	return begin.Add(life/3*2 + shift)
}
