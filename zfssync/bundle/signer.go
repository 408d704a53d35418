package bundle

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxCert is the longest certificate file, in bytes.
const MaxCert = 16 << 10

// Signer is a certificate whose signatures count.
type Signer struct {
	Fingerprint string // SHA-256 of the certificate, 64 hex digits in lower case
	Subject     string // for people
	NotBefore   time.Time
	NotAfter    time.Time
	cert        *x509.Certificate
}

// ParseSigner reads one certificate in PEM or DER.
func ParseSigner(text []byte) (Signer, error) {
	if len(text) > MaxCert {
		return Signer{}, fmt.Errorf("the certificate has %d bytes, %d are the most", len(text), MaxCert)
	}
	der := text
	if b, rest := pem.Decode(text); b != nil {
		if b.Type != "CERTIFICATE" {
			return Signer{}, fmt.Errorf("it holds a %q, not a certificate: give the .crt file, never the key", b.Type)
		}
		if more, _ := pem.Decode(rest); more != nil {
			return Signer{}, errors.New("it holds more than one certificate: give the signer's own alone")
		}
		der = b.Bytes
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Signer{}, fmt.Errorf("read the certificate: %w", err)
	}
	if _, err := algorithm(cert.PublicKey); err != nil {
		return Signer{}, err
	}
	digest := sha256.Sum256(cert.Raw)
	return Signer{
		Fingerprint: hex.EncodeToString(digest[:]), Subject: subject(cert),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, cert: cert,
	}, nil
}

// PEM is the certificate as text.
func (s Signer) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}))
}

func subject(c *x509.Certificate) string {
	name := c.Subject.CommonName
	if name == "" {
		name = c.Subject.String()
	}
	if name == "" && len(c.EmailAddresses) > 0 {
		name = c.EmailAddresses[0]
	}
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[:200], "")
	}
	return name
}

// valid reports why the certificate does not count at now.
func (s Signer) valid(now time.Time) error {
	switch {
	case now.Before(s.NotBefore):
		return fmt.Errorf("its certificate is valid from %s on; is the clock of this host right?", s.NotBefore.UTC().Format(time.DateTime))
	case now.After(s.NotAfter):
		return fmt.Errorf("its certificate ended on %s", s.NotAfter.UTC().Format(time.DateTime))
	}
	return nil
}

// check reports whether sig is s's signature over text.
func (s Signer) check(text, sig []byte) error {
	alg, err := algorithm(s.cert.PublicKey)
	if err != nil {
		return err
	}
	return s.cert.CheckSignature(alg, text, sig)
}

// algorithm is what openssl signs with for this kind of key.
func algorithm(public any) (x509.SignatureAlgorithm, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return 0, fmt.Errorf("an RSA key of %d bits is too weak: 2048 are the least", k.N.BitLen())
		}
		return x509.SHA256WithRSA, nil
	case *ecdsa.PublicKey:
		return x509.ECDSAWithSHA256, nil
	case ed25519.PublicKey:
		return x509.PureEd25519, nil
	}
	return 0, fmt.Errorf("keys of type %T are not supported: use RSA, ECDSA or Ed25519", public)
}

// sameKey reports whether a private key's public half is the certificate's.
func (s Signer) sameKey(public any) bool {
	a, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return false
	}
	b, err := x509.MarshalPKIXPublicKey(s.cert.PublicKey)
	return err == nil && bytes.Equal(a, b)
}
