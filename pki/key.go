package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

const (
	pemKey  = "PRIVATE KEY"
	pemCert = "CERTIFICATE"
)

// NewKey makes an ECDSA P-256 key.
func NewKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a P-256 key: %w", err)
	}
	return key, nil
}

// EncodeKey is key as PKCS #8 PEM.
func EncodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// ParseKey reads what EncodeKey wrote.
func ParseKey(keyPEM []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil || block.Type != pemKey {
		return nil, errors.New("no PEM block of type PRIVATE KEY (PKCS #8)")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse a private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("private key of type %T cannot sign", key)
	}
	return signer, nil
}

// EnsureKey loads the key at path, or makes one there with mode 0600. It is
// on disk for good before EnsureKey returns, since a CSR made with a key that
// a power cut takes away is worth nothing.
func EnsureKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		return loadKey(path, data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	data, err = EncodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make key %s: %w", path, err)
	}
	if err := renameio.WriteFile(path, data, 0o600, renameio.IgnoreUmask()); err != nil {
		return nil, fmt.Errorf("write key %s: %w", path, err)
	}
	return key, nil
}

// EnsureJailKey is EnsureKey for a key that can be replaced: it is not synced,
// and one that a power cut has damaged is made anew, since its owner then asks
// for another certificate. Sixteen jails that start at once would otherwise
// wait a tenth of a second for the disk.
func EnsureJailKey(path string) (key crypto.Signer, keyPEM []byte, err error) {
	data, err := os.ReadFile(path)
	if err == nil {
		if _, damaged := ParseKey(data); damaged == nil {
			key, err = loadKey(path, data) // its mode counts too
			return key, data, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("read key %s: %w", path, err)
	}
	fresh, err := NewKey()
	if err != nil {
		return nil, nil, err
	}
	if data, err = EncodeKey(fresh); err != nil {
		return nil, nil, err
	}
	temp := path + ".new"
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), ignoreMissing(os.Remove(temp))); err != nil {
		return nil, nil, fmt.Errorf("make key %s: %w", path, err)
	}
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return nil, nil, fmt.Errorf("write key %s: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return nil, nil, fmt.Errorf("write key %s: %w", path, err)
	}
	return fresh, data, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// loadKey parses a key file, refusing one that others may read.
func loadKey(path string, data []byte) (crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key %s has mode %04o, so others may have read it: chmod 600 it, and replace it if in doubt",
			path, info.Mode().Perm())
	}
	key, err := ParseKey(data)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	return key, nil
}

// samePublic tells whether a and b are the same public key.
func samePublic(a, b crypto.PublicKey) bool {
	derA, errA := x509.MarshalPKIXPublicKey(a)
	derB, errB := x509.MarshalPKIXPublicKey(b)
	return errA == nil && errB == nil && bytes.Equal(derA, derB)
}
