package join

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	prefix      = "REX1"
	idBytes     = 10 // 16 characters
	secretBytes = 20 // 32 characters, 160 bits
)

var text = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Token is what admits a host: REX1-<CA fingerprint>-<id>-<secret>.
type Token struct {
	CA     [sha256.Size]byte // SHA-256 of the CA's certificate (DER)
	ID     string
	Secret string
}

// ErrToken says that a text is no token.
var ErrToken = errors.New("this is no join token: it reads REX1-CA-ID-SECRET, as `rexctl token create` printed it; copy all of it")

// NewToken draws a token for the cluster whose CA certificate is caDER.
func NewToken(caDER []byte, random io.Reader) (Token, error) {
	var b [idBytes + secretBytes]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return Token{}, fmt.Errorf("draw a token: %w", err)
	}
	return Token{CA: sha256.Sum256(caDER), ID: text.EncodeToString(b[:idBytes]), Secret: text.EncodeToString(b[idBytes:])}, nil
}

// Hash is what the cluster keeps of the secret.
func (t Token) Hash() []byte {
	sum := sha256.Sum256([]byte(t.Secret))
	return sum[:]
}

// String is the token as users copy it. It holds the secret.
func (t Token) String() string {
	return strings.Join([]string{prefix, text.EncodeToString(t.CA[:]), t.ID, t.Secret}, "-")
}

// Parse reads what String wrote, in either case and with blanks around it.
func Parse(s string) (Token, error) {
	part := strings.Split(strings.ToLower(strings.TrimSpace(s)), "-")
	if len(part) != 4 || part[0] != strings.ToLower(prefix) {
		return Token{}, ErrToken
	}
	ca, err := text.DecodeString(part[1])
	if err != nil || len(ca) != sha256.Size || text.EncodeToString(ca) != part[1] {
		return Token{}, ErrToken
	}
	for i, want := range []int{idBytes, secretBytes} {
		if b, err := text.DecodeString(part[2+i]); err != nil || len(b) != want || text.EncodeToString(b) != part[2+i] {
			return Token{}, ErrToken
		}
	}
	return Token{CA: [sha256.Size]byte(ca), ID: part[2], Secret: part[3]}, nil
}
