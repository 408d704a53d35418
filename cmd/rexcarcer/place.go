package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// tempPlaces are where temporary data is kept, in order: it may be large, and
// /tmp is memory on many hosts. Not every host has /var/tmp.
func tempPlaces() []string { return []string{"/var/tmp", os.TempDir(), "/tmp"} }

// tempDir makes a directory in the first of places that is there.
func tempDir(places []string, prefix string) (string, error) {
	var errs []error
	for _, place := range places {
		dir, err := os.MkdirTemp(place, prefix)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("make a temporary directory: %w", err)
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("make a temporary directory (give -data-dir instead): %w", errors.Join(errs...))
}

// ownName is what a host is called that was given no name: its hostname
// without the domain, or "host" where nobody has set any.
func ownName(hostname string) string {
	name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(hostname)), ".")
	if name == "" {
		return "host"
	}
	return name
}
