package bundle

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Key is a certificate with its private key.
type Key struct {
	Signer Signer
	key    crypto.Signer
}

// ParseKey reads a certificate and its private key (PKCS #8, PKCS #1 or SEC 1, in PEM, without a passphrase).
func ParseKey(cert, key []byte) (Key, error) {
	s, err := ParseSigner(cert)
	if err != nil {
		return Key{}, err
	}
	k, err := parsePrivate(key)
	if err != nil {
		return Key{}, err
	}
	if !s.sameKey(k.Public()) {
		return Key{}, fmt.Errorf("the key is not that of the certificate %s", s.Subject)
	}
	return Key{Signer: s, key: k}, nil
}

func parsePrivate(text []byte) (crypto.Signer, error) {
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" {
			return nil, errors.New("the key has a passphrase: sign with openssl, or give a key without one")
		}
		var k any
		var err error
		switch b.Type {
		case "PRIVATE KEY":
			k, err = x509.ParsePKCS8PrivateKey(b.Bytes)
		case "RSA PRIVATE KEY":
			k, err = x509.ParsePKCS1PrivateKey(b.Bytes)
		case "EC PRIVATE KEY":
			k, err = x509.ParseECPrivateKey(b.Bytes)
		default:
			continue // "EC PARAMETERS", which openssl writes before the key
		}
		if err != nil {
			return nil, fmt.Errorf("read the key: %w", err)
		}
		signer, ok := k.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("read the key: a %T cannot sign", k)
		}
		return signer, nil
	}
	return nil, errors.New("the file holds no private key in PEM")
}

// Sign signs the text of a hash file as openssl would.
func (k Key) Sign(text []byte) ([]byte, error) {
	var sig []byte
	var err error
	if _, pure := k.key.(ed25519.PrivateKey); pure {
		sig, err = k.key.Sign(rand.Reader, text, crypto.Hash(0))
	} else {
		digest := sha256.Sum256(text)
		sig, err = k.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	}
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return sig, nil
}

// File is one file of a bundle.
type File struct {
	Name    string
	Content []byte
}

// Sign makes the small files of a bundle whose payload exists, in the order in which they should appear beside it.
func Sign(m Meta, k Key) ([]File, error) {
	meta := m.Encode()
	if _, err := ParseMeta(meta); err != nil { // what we write we must be able to read
		return nil, fmt.Errorf("bundle %s: %w", m.Name, err)
	}
	hashes := Hashes{Payload: m.Payload, PayloadDigest: m.Digest[len("sha256:"):], MetaDigest: sum(meta)}.Encode(m.Name)
	sig, err := k.Sign(hashes)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", m.Name, err)
	}
	return []File{
		{m.Name + MetaSuffix, meta},
		{m.Name + HashSuffix, hashes},
		{m.Name + SigSuffix + k.Signer.Fingerprint, sig},
	}, nil
}
