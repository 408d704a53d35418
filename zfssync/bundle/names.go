package bundle

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Ends of the small files' names.
const (
	MetaSuffix = ".base"
	HashSuffix = ".sha256"
	SigSuffix  = ".sha256sig." // then the fingerprint
)

// nameRE keeps names harmless as file names, in URLs and in the hash file.
var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$`)

// ValidName reports why name cannot be a bundle's.
func ValidName(name string) error {
	if !nameRE.MatchString(name) || strings.Contains(name, "..") {
		return fmt.Errorf("the name %.100q is not 1 to 100 letters, digits, '.', '_', '+', '-', beginning with a letter or digit", name)
	}
	return nil
}

// Payloads are the ends that a payload's name can have. The first is what we write.
var Payloads = []string{".tar.zst", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar", ".zfs.zst", ".zfs.bz2", ".zfs.gz", ".zfs"}

// Format of a payload: "tar" or "zfs".
func Format(payload string) string {
	for _, end := range Payloads {
		if strings.HasSuffix(payload, end) {
			return strings.SplitN(end, ".", 3)[1]
		}
	}
	return ""
}

// Stem takes the end off a name, path or URL that names a bundle by one of its files.
func Stem(s string) string {
	for _, end := range append(slices.Clone(Payloads), MetaSuffix, HashSuffix) {
		if t, ok := strings.CutSuffix(s, end); ok && t != "" {
			return t
		}
	}
	return s
}

// isPayloadOf reports whether file is a payload of the bundle name.
func isPayloadOf(file, name string) bool {
	end, ok := strings.CutPrefix(file, name)
	return ok && slices.Contains(Payloads, end)
}
