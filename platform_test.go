package rexcarcer_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What needs FreeBSD to compile is tested on no machine of ours: it holds calls
// of the system, and what decides or formats is elsewhere.
func TestFilesThatNeedFreeBSDAreTiny(t *testing.T) {
	t.Parallel()
	const most = 150
	found := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_freebsd.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		if n := bytes.Count(raw, []byte("\n")); err == nil && n > most {
			t.Errorf("%s has %d lines, more than %d", path, n, most)
		}
		found++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 5 {
		t.Errorf("only %d such files were found", found)
	}
}
