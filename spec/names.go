package spec

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Everything that ends up in a host name, a path, a rule or an argv passes
// one of the validators here: what they let through needs no quoting in
// jail.conf, pf, nftables, zfs or a shell (failures.md, case 35).

// ValidName says whether s can name a wish, network, jail, service, volume
// or host: ^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$.
func ValidName(s string) error {
	if s == "" {
		return errors.New("the name is empty")
	}
	if len(s) > 63 {
		return fmt.Errorf("the name %q has %d characters, 63 are the most", clip(s), len(s))
	}
	if s[0] < 'a' || s[0] > 'z' {
		return fmt.Errorf("the name %q does not begin with a letter a-z", s)
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("the name %q has %q in it: only a-z, 0-9 and - are allowed", s, runeAt(s, i))
		}
	}
	if s[len(s)-1] == '-' {
		return fmt.Errorf("the name %q ends with -", s)
	}
	return nil
}

// ValidHostname says whether s is a host name or FQDN: labels of a-z, 0-9
// and -, joined by dots, no trailing dot, at most 253 characters (RFC 1123
// section 2.1, lower case only).
func ValidHostname(s string) error {
	if s == "" {
		return errors.New("the host name is empty")
	}
	if len(s) > 253 {
		return fmt.Errorf("the host name has %d characters, 253 are the most", len(s))
	}
	digits := true
	for label := range strings.SplitSeq(s, ".") {
		if err := validLabel(label); err != nil {
			return fmt.Errorf("the host name %q: %w", clip(s), err)
		}
		digits = strings.Trim(label, "0123456789") == ""
	}
	if digits { // would be taken for an address
		return fmt.Errorf("the host name %q ends in a number", s)
	}
	return nil
}

func validLabel(s string) error {
	switch {
	case s == "":
		return errors.New("a part between two dots is empty")
	case len(s) > 63:
		return errors.New("a part is longer than 63 characters")
	case s[0] == '-' || s[len(s)-1] == '-':
		return errors.New("a part begins or ends with -")
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%q is not allowed, only a-z, 0-9 and -", runeAt(s, i))
		}
	}
	return nil
}

// ValidDomain says whether s can be the DNS suffix of a cluster: a host name
// short enough that JAIL.NETWORK in front of it still fits.
func ValidDomain(s string) error {
	if err := ValidHostname(s); err != nil {
		return fmt.Errorf("the domain: %w", err)
	}
	if len(s) > 253-2*64 {
		return fmt.Errorf("the domain has %d characters, %d are the most", len(s), 253-2*64)
	}
	return nil
}

// ValidPath says whether s is an absolute, clean path without control
// characters: no "..", no doubled slash, no trailing slash.
func ValidPath(s string) error {
	switch {
	case s == "":
		return errors.New("the path is empty")
	case len(s) > MaxPathBytes:
		return fmt.Errorf("the path has %d bytes, %d are the most", len(s), MaxPathBytes)
	case s[0] != '/':
		return fmt.Errorf("the path %q is not absolute", clip(s))
	case !cleanText(s):
		return fmt.Errorf("the path %q has a control character or is not UTF-8", clip(s))
	case path.Clean(s) != s:
		return fmt.Errorf("the path %q has . or .. or a slash too many in it, write %q", clip(s), clip(path.Clean(s)))
	}
	return nil
}

// ValidContextPath says whether s is a path inside a build context: relative,
// clean, not climbing out.
func ValidContextPath(s string) error {
	switch {
	case s == "":
		return errors.New("the path is empty")
	case len(s) > MaxPathBytes:
		return fmt.Errorf("the path has %d bytes, %d are the most", len(s), MaxPathBytes)
	case !cleanText(s):
		return fmt.Errorf("the path %q has a control character or is not UTF-8", clip(s))
	case s[0] == '/':
		return fmt.Errorf("the path %q is absolute, it must be inside the build context", clip(s))
	case s[0] == '-':
		return fmt.Errorf("the path %q begins with -, write ./%s", clip(s), clip(s))
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == ".." {
			return fmt.Errorf("the path %q leaves the build context", clip(s))
		}
	}
	return nil
}

var (
	imageName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$`)
	baseName  = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9:/._@+~=%?&-]*$`)
	userName  = regexp.MustCompile(`^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9}(:[0-9]{1,9})?)$`)
	labelKey  = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?$`)
	cpuSet    = regexp.MustCompile(`^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$`)
	digestKey = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ValidImageName says whether s is NAME or NAME:TAG.
func ValidImageName(s string) error {
	if !imageName.MatchString(s) || strings.Contains(s, "..") {
		return fmt.Errorf("the image name %q is not NAME or NAME:TAG (a-z, 0-9, -; the tag also A-Z, _ and .)", clip(s))
	}
	return nil
}

// ValidBase says whether s can stand after BASE: debian:bookworm, host:/, a
// URL, a path or an image's name, without anything that a shell would see.
func ValidBase(s string) error {
	if len(s) > MaxPathBytes || !baseName.MatchString(s) {
		return fmt.Errorf("the base %q is not a URL, a path, an image's name or SYSTEM:RELEASE", clip(s))
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == ".." {
			return fmt.Errorf("the base %q has .. in it", clip(s))
		}
	}
	return nil
}

func validEnvName(s string) error {
	ok := s != "" && len(s) <= 128 && (s[0] < '0' || s[0] > '9')
	for i := range len(s) {
		c := s[i]
		ok = ok && (c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9')
	}
	if !ok {
		return fmt.Errorf("the variable %q is not made of letters, digits and _ (not beginning with a digit)", clip(s))
	}
	return nil
}

func validLabelKey(s string) error {
	if !labelKey.MatchString(s) || strings.Contains(s, "..") {
		return fmt.Errorf("the label %q is not made of letters, digits, _ . / and -", clip(s))
	}
	return nil
}

// validValue is for what is handed on as it is: arguments, values.
func validValue(s string, most int) error { //nolint:unparam // the two limits that callers pass happen to be equal
	switch {
	case len(s) > most:
		return fmt.Errorf("is %d bytes long, %d are the most", len(s), most)
	case strings.IndexByte(s, 0) >= 0:
		return errors.New("has a NUL byte in it")
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	}
	return nil
}

// cleanText says that s is UTF-8 without control characters.
func cleanText(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029'
	}) < 0
}

// clip shortens what is quoted in a message.
func clip(s string) string {
	if len(s) <= 80 {
		return s
	}
	return s[:77] + "..."
}

func runeAt(s string, i int) rune {
	r, _ := utf8.DecodeRuneInString(s[i:])
	return r
}

// Overlaps says whether any subnet of a shares an address with one of b.
// Subnets of a cluster must not overlap, whoever declares them.
func Overlaps(a, b Network) bool {
	for _, p := range [2]netip.Prefix{a.Subnet, a.Subnet6} {
		for _, q := range [2]netip.Prefix{b.Subnet, b.Subnet6} {
			if p.IsValid() && q.IsValid() && p.Overlaps(q) {
				return true
			}
		}
	}
	return false
}
