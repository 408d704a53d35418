package bundle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// metaFormat is the version of NAME.base that this program reads and writes.
const metaFormat = 1

// The most that the small files may be, in bytes.
const (
	MaxMeta = 16 << 10
	MaxHash = 4 << 10
	MaxSig  = 4 << 10
)

// Meta is NAME.base: what a bundle is.
type Meta struct {
	Name     string
	Version  uint64    // grows with each bundle of the name; by default its date and time as one number
	Created  time.Time // to the second, UTC
	Platform string    // as "linux/amd64"
	Payload  string    // its file name
	Size     int64     // of the payload, bytes
	Digest   string    // of the payload, "sha256:" and 64 hex digits
	Parent   string    // what it was made from, for people; may be ""
}

// VersionOf is the version that a bundle gets when nobody names one: 20060102150405 in UTC.
func VersionOf(t time.Time) uint64 {
	v, err := strconv.ParseUint(t.UTC().Format("20060102150405"), 10, 64)
	if err != nil {
		return 0 // years beyond 9999
	}
	return v
}

// Encode writes the lines of NAME.base.
func (m Meta) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "rexcarcer-base: %d\nname: %s\nversion: %d\ncreated: %s\nplatform: %s\npayload: %s\nsize: %d\ndigest: %s\n",
		metaFormat, m.Name, m.Version, m.Created.UTC().Format(time.RFC3339), m.Platform, m.Payload, m.Size, m.Digest)
	if m.Parent != "" {
		fmt.Fprintf(&b, "parent: %s\n", m.Parent)
	}
	return b.Bytes()
}

var (
	digestRE   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	platformRE = regexp.MustCompile(`^[a-z0-9]{1,16}/[a-z0-9]{1,16}$`)
)

// ParseMeta reads NAME.base. Every key but parent is needed, each once; "#" begins a comment line; keys that begin with
// "x-" are passed over.
func ParseMeta(text []byte) (Meta, error) {
	if len(text) > MaxMeta {
		return Meta{}, fmt.Errorf("it has %d bytes, %d are the most", len(text), MaxMeta)
	}
	if !utf8.Valid(text) {
		return Meta{}, errors.New("it is not UTF-8 text")
	}
	var m Meta
	seen := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "x-") {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || value == "" {
			return Meta{}, fmt.Errorf("line %d: want \"key: value\"", n)
		}
		if seen[key] {
			return Meta{}, fmt.Errorf("line %d: a second %s", n, key)
		}
		if len(seen) == 0 && key != "rexcarcer-base" {
			return Meta{}, fmt.Errorf("line %d: want \"rexcarcer-base: %d\" first", n, metaFormat)
		}
		seen[key] = true
		if err := m.set(key, value); err != nil {
			return Meta{}, fmt.Errorf("line %d: %s: %w", n, key, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Meta{}, err
	}
	for _, key := range []string{"rexcarcer-base", "name", "version", "created", "platform", "payload", "size", "digest"} {
		if !seen[key] {
			return Meta{}, fmt.Errorf("%s is missing", key)
		}
	}
	if !isPayloadOf(m.Payload, m.Name) {
		return Meta{}, fmt.Errorf("payload %q: want %s and one of %s", m.Payload, m.Name, strings.Join(Payloads, " "))
	}
	return m, nil
}

func (m *Meta) set(key, value string) (err error) {
	switch key {
	case "rexcarcer-base":
		if value != strconv.Itoa(metaFormat) {
			err = fmt.Errorf("format %q is of a later version: this one reads %d", value, metaFormat)
		}
	case "name":
		m.Name, err = value, ValidName(value)
	case "version":
		if m.Version, err = strconv.ParseUint(value, 10, 64); err == nil && (m.Version == 0 || value[0] == '0') {
			err = errors.New("want a whole number above 0")
		}
	case "created":
		if m.Created, err = time.Parse(time.RFC3339, value); err == nil {
			m.Created = m.Created.UTC().Truncate(time.Second)
		}
		if err == nil && (m.Created.Year() < 1970 || m.Created.Year() > 9999) {
			err = errors.New("want a year from 1970 to 9999")
		}
	case "platform":
		if m.Platform = value; !platformRE.MatchString(value) {
			err = fmt.Errorf("%.40q is not SYSTEM/PROCESSOR, as linux/amd64", value)
		}
	case "payload":
		m.Payload = value
	case "size":
		if m.Size, err = strconv.ParseInt(value, 10, 64); err == nil && m.Size <= 0 {
			err = errors.New("want a number of bytes above 0")
		}
	case "digest":
		if m.Digest = value; !digestRE.MatchString(value) {
			err = errors.New("want sha256: and 64 hex digits")
		}
	case "parent":
		if m.Parent = value; len(value) > 1024 || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			err = errors.New("want at most 1024 printable characters")
		}
	default:
		err = errors.New("is not a key of this format; keys of your own begin with x-")
	}
	return err
}
