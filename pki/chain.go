package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // names a key, protects nothing: RFC 5280 section 4.2.1.2
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// CAID names a CA, of which a cluster may have several: it
// is the beginning of the SHA-256 of the first certificate of certPEM, 16 hex
// digits.
func CAID(certPEM []byte) (string, error) {
	certs, err := ParseChain(certPEM)
	if err != nil {
		return "", err
	}
	return caID(certs[0]), nil
}

func caID(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:8])
}

// ID is CAID of the CA's certificate.
func (ca *CA) ID() string { return caID(ca.cert) }

// Until is when the CA's certificate ends.
func (ca *CA) Until() time.Time { return ca.cert.NotAfter }

// Behind is ca with more certificates to follow each one that it signs: those
// that lead from it to what verifiers trust.
func (ca *CA) Behind(chainPEM []byte) *CA {
	now := *ca
	now.behind = bytes.Clone(chainPEM)
	return &now
}

// CrossSign certifies next's key and name by ca, so that who trusts only ca
// accepts what next signs. It ends with ca.
func CrossSign(ca, next *CA, now time.Time) ([]byte, error) {
	if ca.cluster != next.cluster {
		return nil, fmt.Errorf("cross-sign the CA of cluster %s: this one is of cluster %s", next.cluster, ca.cluster)
	}
	serial, err := newSerial(ca.rand)
	if err != nil {
		return nil, fmt.Errorf("cross-sign a CA: %w", err)
	}
	template := *next.cert
	template.SerialNumber, template.Issuer, template.AuthorityKeyId = serial, pkix.Name{}, nil
	template.NotBefore = now.UTC().Add(-Backdate).Truncate(time.Second)
	template.MaxPathLen, template.MaxPathLenZero = 0, true
	if template.NotAfter.After(ca.cert.NotAfter) {
		template.NotAfter = ca.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.cert, next.cert.PublicKey, ca.key)
	if err != nil {
		return nil, fmt.Errorf("cross-sign a CA: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: der}), nil
}

// Extensions of a request for a CA certificate, RFC 5280 section 4.2.1.
var (
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
)

// Request is a CSR in PEM for ca's key and name, to be signed by the
// operator's own CA. It asks for what a CA needs.
func (ca *CA) Request() ([]byte, error) {
	keyID, err := asn1.Marshal(ca.cert.SubjectKeyId)
	if err != nil {
		return nil, fmt.Errorf("make a request for the CA: %w", err)
	}
	template := &x509.CertificateRequest{
		RawSubject: ca.cert.RawSubject, URIs: ca.cert.URIs,
		ExtraExtensions: []pkix.Extension{
			{Id: oidBasicConstraints, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}, // SEQUENCE { cA TRUE }
			{Id: oidKeyUsage, Critical: true, Value: []byte{3, 2, 1, 6}},                  // keyCertSign, cRLSign
			{Id: oidSubjectKeyID, Value: keyID},
		},
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, ca.key)
	if err != nil {
		return nil, fmt.Errorf("make a request for the CA: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// ErrOtherKey says that a certificate is not for the cluster's CA.
var ErrOtherKey = errors.New("it is for another key: sign the request that `rexctl ca csr` prints")

// CheckChain checks what the operator's CA has made of Request: the first
// certificate of chainPEM must be for the key and name of the CA certPEM and
// be allowed to sign, and lead over the others to the last one. It returns PEM
// without a self-signed root at the end, and how the last issuer is called.
func CheckChain(certPEM, chainPEM []byte, now time.Time) (clean []byte, issuer string, err error) {
	own, err := ParseChain(certPEM)
	if err != nil {
		return nil, "", err
	}
	list, err := ParseChain(chainPEM)
	if err != nil {
		return nil, "", err
	}
	if err := fitsCA(own[0], list[0], now); err != nil {
		return nil, "", fmt.Errorf("the first certificate, %q, is not good for the cluster's CA: %w", list[0].Subject, err)
	}
	for i, cert := range list[1:] {
		if err := list[i].CheckSignatureFrom(cert); err != nil {
			return nil, "", fmt.Errorf("certificate %d of the chain, %q, is not signed by the next one, %q: %w", i+1, list[i].Subject, cert.Subject, err)
		}
		if now.After(cert.NotAfter) || now.Before(cert.NotBefore) {
			return nil, "", fmt.Errorf("certificate %d of the chain, %q, is valid from %s to %s", i+2, cert.Subject, cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339))
		}
		if cert.MaxPathLen >= 0 && (cert.MaxPathLen > 0 || cert.MaxPathLenZero) && cert.MaxPathLen < i+1 {
			return nil, "", fmt.Errorf("certificate %d of the chain, %q, allows %d CAs below it, and there are %d", i+2, cert.Subject, cert.MaxPathLen, i+1)
		}
	}
	last := list[len(list)-1]
	if len(list) > 1 && bytes.Equal(last.RawSubject, last.RawIssuer) {
		list = list[:len(list)-1]
	}
	return encodeCerts(list...), last.Issuer.String(), nil
}

// fitsCA says why cert cannot stand in own's place.
func fitsCA(own, cert *x509.Certificate, now time.Time) error {
	switch {
	case !samePublic(own.PublicKey, cert.PublicKey):
		return ErrOtherKey
	case !bytes.Equal(own.RawSubject, cert.RawSubject):
		return fmt.Errorf("its name is %q, want %q: keep the request's", cert.Subject, own.Subject)
	case bytes.Equal(cert.RawIssuer, cert.RawSubject):
		return errors.New("it is self-signed")
	case !cert.IsCA || !cert.BasicConstraintsValid:
		return errors.New("it is not a CA's: add basicConstraints = critical, CA:true (openssl x509: -copy_extensions copy)")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("it may not sign certificates: add keyUsage = keyCertSign")
	case len(cert.SubjectKeyId) > 0 && !bytes.Equal(cert.SubjectKeyId, own.SubjectKeyId):
		return fmt.Errorf("its subject key identifier is %x, want %x: copy the request's, or leave it out", cert.SubjectKeyId, own.SubjectKeyId)
	case now.After(cert.NotAfter) || now.Before(cert.NotBefore):
		return fmt.Errorf("it is valid from %s to %s, and it is %s here", cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// WholeChain is chainPEM with the CA behind it that its last certificate
// leads to, if caPEM has that one.
func WholeChain(chainPEM, caPEM []byte) ([]byte, error) {
	chain, err := ParseChain(chainPEM)
	if err != nil {
		return nil, err
	}
	roots, err := ParseChain(caPEM)
	if err != nil {
		return nil, err
	}
	last := chain[len(chain)-1]
	if !bytes.Equal(last.RawIssuer, last.RawSubject) {
		for _, root := range roots {
			if bytes.Equal(root.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(root) == nil {
				return append(encodeCerts(chain...), encodeCerts(root)...), nil
			}
		}
	}
	return encodeCerts(chain...), nil
}

// LeafOnly is the first certificate of chainPEM.
func LeafOnly(chainPEM []byte) ([]byte, error) {
	certs, err := ParseChain(chainPEM)
	if err != nil {
		return nil, err
	}
	return encodeCerts(certs[0]), nil
}

func encodeCerts(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, cert := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: pemCert, Bytes: cert.Raw}) // a buffer takes all
	}
	return b.Bytes()
}

// subjectKeyID is what openssl calls "hash": RFC 5280 section 4.2.1.2, method
// 1. An operator's CA that makes its own comes to the same.
func subjectKeyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	sum := sha1.Sum(info.Key.RightAlign()) //nolint:gosec // see the import
	return sum[:], nil
}
