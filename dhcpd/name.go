package dhcpd

import (
	"strings"
)

// Flags of option 81 (RFC 4702 section 2.1).
const (
	fqdnServerUpdates = 1 << 0 // S: the server makes the A record
	fqdnOverridden    = 1 << 1 // O: the server did not do what S asked for
	fqdnEncoded       = 1 << 2 // E: the name is in DNS wire format
	fqdnNoUpdates     = 1 << 3 // N: the client wants no records
)

// wantedName is the first label of the name that a client has: of option 81,
// else of option 12. What DNS does not allow becomes a dash. "" if it has none,
// or wants none in DNS.
func wantedName(fqdn, host []byte) string {
	if len(fqdn) >= 3 {
		if fqdn[0]&fqdnNoUpdates != 0 {
			return ""
		}
		name := fqdn[3:]
		if fqdn[0]&fqdnEncoded != 0 {
			if len(name) > 1 && int(name[0]) < len(name) && name[0] < 64 {
				return label(string(name[1 : 1+name[0]]))
			}
			return ""
		}
		if l := label(string(name)); l != "" {
			return l
		}
	}
	return label(string(host))
}

// label makes one label of RFC 1123 from text, "" if nothing is left of it.
func label(text string) string {
	text, _, _ = strings.Cut(text, ".")
	text, _, _ = strings.Cut(text, "\x00")
	if len(text) > 63 {
		text = text[:63]
	}
	b := []byte(strings.ToLower(text))
	for i, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			b[i] = '-'
		}
	}
	text = strings.Trim(string(b), "-")
	if text == "localhost" {
		return ""
	}
	return text
}

// fqdnReply answers option 81: the server does it all (RFC 4702 section 4).
func fqdnReply(asked []byte, name string) []byte {
	if len(asked) < 3 {
		return nil
	}
	flags := asked[0] & fqdnEncoded
	switch {
	case asked[0]&fqdnNoUpdates != 0:
		flags |= fqdnNoUpdates
	case asked[0]&fqdnServerUpdates == 0:
		flags |= fqdnServerUpdates | fqdnOverridden
	default:
		flags |= fqdnServerUpdates
	}
	out := []byte{flags, 255, 255}
	if name == "" {
		return out
	}
	if flags&fqdnEncoded == 0 {
		return append(out, name...)
	}
	for l := range strings.SplitSeq(name, ".") {
		out = append(append(out, byte(len(l))), l...)
	}
	return append(out, 0)
}
