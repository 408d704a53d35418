package zfstest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

const (
	prefix   = "rexzt"     // of every pool made here
	memory   = "/dev/shm/" // where the files of small pools lie
	inMemory = 512 << 20   // bytes: larger ones lie on disk
)

// Pool makes a pool of size bytes (at least 64 MiB) for one test and returns its name. It is destroyed when the test ends,
// with all that is in it.
func Pool(tb testing.TB, size int64) string {
	tb.Helper()
	Require(tb)
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	name := prefix + hex.EncodeToString(id[:])
	file := filepath.Join(tb.TempDir(), name)
	if _, err := os.Stat(memory); err == nil && size <= inMemory {
		file = memory + name
		tb.Cleanup(func() { _ = os.Remove(file) })
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { destroy(tb, name) })
	zpool(tb, "create", "-o", "cachefile=none", "-m", "none", name, file)
	return name
}

// Require skips tb unless this machine can have pools, and makes zfs(8) work for as long as this process lives.
func Require(tb testing.TB) {
	tb.Helper()
	testenv.RequireRoot(tb)
	testenv.RequireTool(tb, "zpool")
	testenv.RequireTool(tb, "zfs")
	if err := daemon(); err != nil {
		tb.Fatal(err)
	}
}

// destroy tries for a while: the kernel lets go of a file system a moment after it was unmounted.
func destroy(tb testing.TB, name string) {
	tb.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		_, err = run.Real{}.Run(context.Background(), run.Cmd{Argv: []string{"zpool", "destroy", "-f", name}})
		if err == nil || strings.Contains(err.Error(), "no such pool") {
			return
		}
	}
	tb.Errorf("destroy pool: %v", err)
}

func zpool(tb testing.TB, args ...string) {
	tb.Helper()
	if _, err := (run.Real{}).Run(tb.Context(), run.Cmd{Argv: append([]string{"zpool"}, args...)}); err != nil {
		tb.Fatal(err)
	}
}
