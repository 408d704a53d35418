package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
)

// maxCSR bounds what Issue parses; ours have about 200 bytes.
const maxCSR = 8 << 10

// NewCSR is a certificate request (PKCS #10 DER, RFC 2986) for key. name is a
// hint for people who look at it; the signer decides about all names.
func NewCSR(key crypto.Signer, name string) ([]byte, error) {
	var der []byte
	var err error
	if isP256(key.Public()) {
		der, err = requestP256(key, clip(name, 64))
	} else {
		template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: clip(name, 64)}}
		der, err = x509.CreateCertificateRequest(rand.Reader, template, key)
	}
	if err != nil {
		return nil, fmt.Errorf("make a certificate request for %s: %w", name, err)
	}
	return der, nil
}

// provenKey returns the public key of a CSR whose sender has shown that it
// holds the private one.
func provenKey(csrDER []byte) (crypto.PublicKey, error) {
	if len(csrDER) > maxCSR {
		return nil, fmt.Errorf("certificate request of %d bytes: the limit is %d", len(csrDER), maxCSR)
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("parse a certificate request: %w", err)
	}
	switch key := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return nil, errors.New("certificate request: use an ECDSA P-256 or P-384, or an Ed25519 key")
		}
	case ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("certificate request: key of type %T: use ECDSA P-256 or P-384, or Ed25519", key)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: its sender does not hold the key: %w", err)
	}
	return csr.PublicKey, nil
}

// KeyID is the SHA-256 of a request's public key (SubjectPublicKeyInfo), in
// hex, once its sender has proven to hold the key.
func KeyID(csrDER []byte) (string, error) {
	public, err := provenKey(csrDER)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("certificate request: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
