package mesh

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
)

// Key is a private or a public key of Curve25519; the zero value means none.
type Key [32]byte

// NewKey makes a private key.
func NewKey(random io.Reader) (Key, error) {
	var k Key
	if _, err := io.ReadFull(random, k[:]); err != nil {
		return Key{}, fmt.Errorf("make a WireGuard key: %w", err)
	}
	k[0] &= 248 // RFC 7748, section 5: what every implementation does before it uses one
	k[31] = k[31]&127 | 64
	return k, nil
}

// Public is the public key of a private one.
func (k Key) Public() Key {
	private, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		panic("mesh: 32 bytes are a key of X25519: " + err.Error())
	}
	return Key(private.PublicKey().Bytes())
}

// String is base64, as wg(8) writes keys. Do not print private ones.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

func (k Key) hex() string { return hex.EncodeToString(k[:]) }

// ParseKey reads what String writes.
func ParseKey(s string) (Key, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != len(Key{}) {
		return Key{}, fmt.Errorf("a WireGuard key is 32 bytes in base64, not %d characters of something else", len(s))
	}
	return Key(b), nil
}

// MarshalText writes base64, and nothing for no key.
func (k Key) MarshalText() ([]byte, error) {
	if k == (Key{}) {
		return nil, nil
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (k *Key) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*k = Key{}
		return nil
	}
	*k, err = ParseKey(string(b))
	return err
}
