package zfssync

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	hexRE     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	uuidRE    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	tokenRE   = regexp.MustCompile(`^[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+$`)
	datasetRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	nameRE    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)
)

const keyPrefix = "sha256:"

// digestOf returns the hex digits of a key, which are safe as a file name.
func digestOf(key string) (string, error) {
	d, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || !hexRE.MatchString(d) {
		return "", fmt.Errorf("image or layer key %q: want sha256: and 64 hex digits", key)
	}
	return d, nil
}

func checkUUID(uuid string) error {
	if !uuidRE.MatchString(uuid) {
		return fmt.Errorf("jail uuid %q: want 8-4-4-4-12 hex digits in lower case", uuid)
	}
	return nil
}

func checkName(what, name string) error {
	if !nameRE.MatchString(name) || strings.Contains(name, "..") {
		return fmt.Errorf("%s %q: want 1 to 128 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit", what, name)
	}
	return nil
}

// check refuses ranges that leave the 32-bit id space or touch the host's own root.
func (m IDMap) check() error {
	if m.IsZero() {
		if m.HostBase != 0 {
			return fmt.Errorf("id range at %d has no size", m.HostBase)
		}
		return nil
	}
	if m.HostBase == 0 || m.Size > 1<<31 || uint64(m.HostBase)+uint64(m.Size) > 1<<32-1 {
		return fmt.Errorf("id range %d+%d: want it above 0 and below 2^32-1", m.HostBase, m.Size)
	}
	return nil
}
