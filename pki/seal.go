package pki

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/scrypt"
)

// ErrPassphrase says that a sealed key did not open.
var ErrPassphrase = errors.New("the passphrase is not the one that the key was sealed with, or the file is damaged")

// A sealed key is PEM with this type: PKCS #8 under AES-256-GCM (NIST SP
// 800-38D), whose key scrypt (RFC 7914) makes of the passphrase. The headers
// are authenticated with it.
const (
	pemSealed = "REXCARCER SEALED KEY"

	sealSalt   = "Salt"
	sealPublic = "Public" // SHA-256 of the public key: which key it is, without the passphrase
)

// scrypt with N=2^15 takes 32 MiB and about a tenth of a second.
const scryptN, scryptR, scryptP = 1 << 15, 8, 1

// SealKey encrypts keyPEM under passphrase.
func SealKey(keyPEM, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("seal a key: the passphrase is empty")
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("seal a key: %w", err)
	}
	public, err := publicID(key.Public())
	if err != nil {
		return nil, fmt.Errorf("seal a key: %w", err)
	}
	var salt [16]byte
	if _, err := io.ReadFull(rand.Reader, salt[:]); err != nil {
		return nil, fmt.Errorf("seal a key: %w", err)
	}
	box, err := sealer(passphrase, salt[:])
	if err != nil {
		return nil, err
	}
	der, _ := pem.Decode(keyPEM)
	nonce := make([]byte, box.NonceSize())
	if _, err := io.ReadFull(rand.Reader, nonce); err != nil {
		return nil, fmt.Errorf("seal a key: %w", err)
	}
	block := &pem.Block{Type: pemSealed, Headers: map[string]string{sealSalt: hex.EncodeToString(salt[:]), sealPublic: public}}
	block.Bytes = box.Seal(nonce, nonce, der.Bytes, []byte(public))
	return pem.EncodeToMemory(block), nil
}

// OpenKey decrypts what SealKey made. ErrPassphrase covers a wrong passphrase
// and a changed file: nobody can tell them apart.
func OpenKey(sealedPEM, passphrase []byte) (keyPEM []byte, err error) {
	block, _ := pem.Decode(sealedPEM)
	if block == nil || block.Type != pemSealed {
		return nil, errors.New("open a sealed key: this is none")
	}
	salt, err := hex.DecodeString(block.Headers[sealSalt])
	if err != nil || len(salt) != 16 {
		return nil, ErrPassphrase
	}
	box, err := sealer(passphrase, salt)
	if err != nil {
		return nil, err
	}
	if len(block.Bytes) < box.NonceSize() {
		return nil, ErrPassphrase
	}
	nonce, text := block.Bytes[:box.NonceSize()], block.Bytes[box.NonceSize():]
	der, err := box.Open(nil, nonce, text, []byte(block.Headers[sealPublic]))
	if err != nil {
		return nil, ErrPassphrase
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// IsSealed tells a sealed key from one in the clear.
func IsSealed(keyPEM []byte) bool {
	block, _ := pem.Decode(keyPEM)
	return block != nil && block.Type == pemSealed
}

func sealer(passphrase, salt []byte) (cipher.AEAD, error) {
	key, err := scrypt.Key(passphrase, salt, scryptN, scryptR, scryptP, 32)
	if err != nil {
		return nil, fmt.Errorf("seal a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal a key: %w", err)
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("seal a key: %w", err)
	}
	return box, nil
}

// publicID is the SHA-256 of a public key, in hex.
func publicID(public any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encode a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// keyOwner is publicID of the key in a file, sealed or not.
func keyOwner(keyPEM []byte) (string, error) {
	block, _ := pem.Decode(keyPEM)
	if block != nil && block.Type == pemSealed {
		return block.Headers[sealPublic], nil
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return "", err
	}
	return publicID(key.Public())
}
