package main

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
)

func compare[T cmp.Ordered](a, b T) int { return cmp.Compare(a, b) }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// overwrite replaces a file whole, or leaves it as it was.
func overwrite(name string, b []byte) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(name); err == nil {
		mode = info.Mode().Perm()
	}
	if err := renameio.WriteFile(name, b, mode); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// safe quotes what is not a plain word, so that a hostile name is seen as it is.
func safe(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@") == "" {
		return s
	}
	return strconv.Quote(s)
}
