package pki

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestAJailsKeyStaysUntilItIsDamaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys", "web-1.key")
	first, firstPEM, err := EnsureJailKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, againPEM, err := EnsureJailKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if !samePublic(first.Public(), again.Public()) || !bytes.Equal(firstPEM, againPEM) {
		t.Error("the second call gave another key")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v; want 0600", info, err)
	}
	// What a power cut leaves of a file that was never synced.
	for _, left := range [][]byte{nil, firstPEM[:len(firstPEM)/2]} {
		if err := os.WriteFile(path, left, 0o600); err != nil {
			t.Fatal(err)
		}
		fresh, freshPEM, err := EnsureJailKey(path)
		if err != nil {
			t.Fatal(err)
		}
		if samePublic(first.Public(), fresh.Public()) {
			t.Error("a damaged key came back")
		}
		if on, err := os.ReadFile(path); err != nil || !bytes.Equal(on, freshPEM) {
			t.Errorf("the new key is not in the file: %v", err)
		}
	}
}

func TestAJailsKeyThatOthersMayReadIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "web-1.key")
	if _, _, err := EnsureJailKey(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := EnsureJailKey(path); err == nil {
		t.Error("a key of mode 0644 was taken")
	}
}
