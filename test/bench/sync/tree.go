//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const fileSize = 256 << 10

// grow fills dir with files that compress to about half, as a root file
// system does.
func grow(dir string, mib int) error {
	for i := range mib << 20 / fileSize {
		sub := filepath.Join(dir, fmt.Sprintf("d%02d", i%64))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%05d", i)), content(uint64(i), fileSize), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// change makes one byte in a hundred new: every hundredth file.
func change(dir string, mib int) error {
	for i := 0; i < mib<<20/fileSize; i += 100 {
		name := filepath.Join(dir, fmt.Sprintf("d%02d", i%64), fmt.Sprintf("f%05d", i))
		if err := os.WriteFile(name, content(uint64(i)+1<<32, fileSize), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(b)
	for i := 0; i+128 <= n; i += 128 {
		clear(b[i : i+64])
	}
	return b
}
