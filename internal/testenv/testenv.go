// Package testenv tells tests what the machine has. A test that lacks
// something skips with a reason; under CI=true that skip is a failure, because
// CI is the place where everything must run for real.
package testenv

import (
	"os"
	"os/exec"
	"testing"
)

// RequireRoot skips tb unless it runs as root.
func RequireRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		missing(tb, "needs root")
	}
}

// RequireTool returns the path of an installed program, or skips tb.
func RequireTool(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(tb, "needs "+name+" (run: make deps)")
	}
	return path
}

// Require skips tb unless ok holds; reason says what the machine lacks.
func Require(tb testing.TB, ok bool, reason string) {
	tb.Helper()
	if !ok {
		missing(tb, reason)
	}
}

func missing(tb testing.TB, reason string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal(reason + ", and a skip in CI is a failure")
	}
	tb.Skip(reason)
}
