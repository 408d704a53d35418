package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// hashRE is one line of `openssl dgst -sha256`: OpenSSL 3 says SHA2-256, earlier ones SHA256.
var hashRE = regexp.MustCompile(`^SHA(?:2-)?256\(([^()]+)\)= ([0-9a-f]{64})$`)

// Hashes is NAME.sha256: which bytes belong to the bundle.
type Hashes struct {
	Payload       string // file name
	PayloadDigest string // 64 hex digits
	MetaDigest    string // 64 hex digits, of NAME.base
}

// Encode writes the lines as `openssl dgst -sha256 PAYLOAD NAME.base` (OpenSSL 3) does.
func (h Hashes) Encode(name string) []byte {
	return fmt.Appendf(nil, "SHA2-256(%s)= %s\nSHA2-256(%s)= %s\n", h.Payload, h.PayloadDigest, name+MetaSuffix, h.MetaDigest)
}

// ParseHashes reads NAME.sha256 of the bundle name. It must have exactly one line for the payload and one for NAME.base,
// in any order, and nothing else.
func ParseHashes(name string, text []byte) (Hashes, error) {
	if len(text) > MaxHash {
		return Hashes{}, refuse(name, Malformed, "%s%s has %d bytes, %d are the most", name, HashSuffix, len(text), MaxHash)
	}
	var h Hashes
	for line := range strings.Lines(string(text)) {
		m := hashRE.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			return Hashes{}, refuse(name, Malformed, "%s%s: %.80q is not a line of `openssl dgst -sha256`", name, HashSuffix, line)
		}
		switch file, digest := m[1], m[2]; {
		case file == name+MetaSuffix && h.MetaDigest == "":
			h.MetaDigest = digest
		case isPayloadOf(file, name) && h.Payload == "":
			h.Payload, h.PayloadDigest = file, digest
		default:
			return Hashes{}, refuse(name, ForeignName, "%s%s speaks of %.80q: want one payload and %s, each once, without a directory",
				name, HashSuffix, file, name+MetaSuffix)
		}
	}
	if h.Payload == "" || h.MetaDigest == "" {
		return Hashes{}, refuse(name, Malformed, "%s%s: want one line for the payload and one for %s", name, HashSuffix, name+MetaSuffix)
	}
	return h, nil
}

// sum is the SHA-256 of b in hex.
func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
