package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// crypto/x509 verifies every signature that it has just made. For a jail that
// is two verifications beside the one that matters (the CSR's proof), and they
// are more than half of the cost of a certificate. So the two ordinary cases,
// a P-256 key asking and a P-256 CA signing, are encoded here, byte for byte as
// crypto/x509 would (a test compares them); the agent that receives a
// certificate verifies it. Everything else goes through crypto/x509.

// DER tags, X.690.
const (
	tagInteger   = 0x02
	tagBits      = 0x03
	tagOctets    = 0x04
	tagUTF8      = 0x0c
	tagPrintable = 0x13
	tagUTCTime   = 0x17
	tagTime      = 0x18
	tagSequence  = 0x30
	tagSet       = 0x31
	tagContext   = 0x80 // + number, primitive
	tagWrapped   = 0xa0 // + number, constructed
)

// Whole elements that are always the same.
var (
	derECDSAWithSHA256 = []byte("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02") // RFC 5758 section 3.2
	derVersion3        = []byte{tagWrapped, 3, tagInteger, 1, 2}
	derVersion0        = []byte{tagInteger, 1, 0}
	derNoAttributes    = []byte{tagWrapped, 0}
	derCommonName      = []byte("\x06\x03\x55\x04\x03")
	derServerAuth      = []byte("\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01")
	derClientAuth      = []byte("\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02")

	// Extensions, RFC 5280 section 4.2.1.
	derDigitalSignature = []byte("\x30\x0e\x06\x03\x55\x1d\x0f\x01\x01\xff\x04\x04\x03\x02\x07\x80") // key usage, critical
	derNotCA            = []byte("\x30\x0c\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00")         // basic constraints, critical
	derExtKeyUsage      = []byte("\x06\x03\x55\x1d\x25")
	derAuthorityKeyID   = []byte("\x06\x03\x55\x1d\x23")
	derSubjectAltName   = []byte("\x06\x03\x55\x1d\x11")
)

// element is the DER of tag around the concatenated parts.
func element(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	out := make([]byte, 0, n+4)
	switch {
	case n < 0x80:
		out = append(out, tag, byte(n))
	case n < 0x100:
		out = append(out, tag, 0x81, byte(n))
	case n < 0x10000:
		out = append(out, tag, 0x82, byte(n>>8), byte(n))
	default: // maxNames names of 253 bytes are still less than 2^24
		out = append(out, tag, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	for _, part := range parts {
		out = append(out, part...)
	}
	return out
}

func isP256(key crypto.PublicKey) bool {
	public, ok := key.(*ecdsa.PublicKey)
	return ok && public.Curve == elliptic.P256()
}

// signBody is SEQUENCE { body, algorithm, signature }: the outer shape of
// certificates and of requests, signed with a P-256 key.
func signBody(body []byte, key crypto.Signer) ([]byte, error) {
	digest := sha256.Sum256(body)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return element(tagSequence, body, derECDSAWithSHA256, element(tagBits, []byte{0}, signature)), nil
}

// requestP256 is a CSR for a P-256 key, RFC 2986 section 4.1.
func requestP256(key crypto.Signer, commonName string) ([]byte, error) {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	return signBody(element(tagSequence, derVersion0, subjectDER(commonName), public, derNoAttributes), key)
}

// certificateP256 signs template, which must be one of Profile's, with a P-256
// CA: RFC 5280 section 4.1.
func certificateP256(template *x509.Certificate, ca *CA, key crypto.PublicKey) ([]byte, error) {
	public, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	serial := template.SerialNumber.Bytes()
	if serial[0]&0x80 != 0 { // an INTEGER is signed
		serial = slices.Insert(serial, 0, 0)
	}
	body := element(tagSequence,
		derVersion3,
		element(tagInteger, serial),
		derECDSAWithSHA256,
		ca.cert.RawSubject,
		element(tagSequence, timeDER(template.NotBefore), timeDER(template.NotAfter)),
		subjectDER(template.Subject.CommonName),
		public,
		element(tagWrapped+3, element(tagSequence,
			derDigitalSignature,
			extensionDER(derExtKeyUsage, usageDER(template.ExtKeyUsage)),
			derNotCA,
			extensionDER(derAuthorityKeyID, element(tagContext, ca.cert.SubjectKeyId)),
			extensionDER(derSubjectAltName, namesDER(template)),
		)),
	)
	return signBody(body, ca.key)
}

// extensionDER is a non-critical extension whose value is a SEQUENCE.
func extensionDER(oid, value []byte) []byte {
	return element(tagSequence, oid, element(tagOctets, element(tagSequence, value)))
}

func usageDER(usage []x509.ExtKeyUsage) (out []byte) {
	for _, use := range usage {
		switch use {
		case x509.ExtKeyUsageServerAuth:
			out = append(out, derServerAuth...)
		case x509.ExtKeyUsageClientAuth:
			out = append(out, derClientAuth...)
		}
	}
	return out
}

// namesDER are the SANs, RFC 5280 section 4.2.1.6.
func namesDER(template *x509.Certificate) (out []byte) {
	for _, name := range template.DNSNames {
		out = append(out, element(tagContext+2, []byte(name))...)
	}
	for _, ip := range template.IPAddresses {
		out = append(out, element(tagContext+7, ip)...)
	}
	for _, uri := range template.URIs {
		out = append(out, element(tagContext+6, []byte(uri.String()))...)
	}
	return out
}

// subjectDER is a Name with a CN only; like crypto/x509 it takes the
// PrintableString where the characters allow it.
func subjectDER(commonName string) []byte {
	tag := byte(tagPrintable)
	for i := range len(commonName) {
		c := commonName[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != ' ' {
			tag = tagUTF8
			break
		}
	}
	return element(tagSequence, element(tagSet, element(tagSequence, derCommonName, element(tag, []byte(commonName)))))
}

// timeDER is UTCTime until 2049 and GeneralizedTime after, RFC 5280 section
// 4.1.2.5.
func timeDER(t time.Time) []byte {
	if t.Year() < 2050 {
		return element(tagUTCTime, t.AppendFormat(nil, "060102150405Z"))
	}
	return element(tagTime, t.AppendFormat(nil, "20060102150405Z"))
}
