package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"time"
)

// Error says which command failed, how, and what it wrote to standard error.
type Error struct {
	Argv    []string
	RC      int           // exit code, 128+signal, or -1 when it did not start
	Stderr  string        // last 64 KiB, trimmed
	Timeout time.Duration // not 0: it was killed because this time had passed
	Err     error         // the cause: context error, lookup or start error, *exec.ExitError
}

// Error returns one line: the command, the reason, the end of standard error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(quoteArgv(e.Argv))
	switch {
	case e.Timeout > 0:
		fmt.Fprintf(&b, ": killed after %v", e.Timeout)
	case errors.Is(e.Err, context.Canceled):
		b.WriteString(": cancelled")
	case e.RC < 0:
		fmt.Fprintf(&b, ": %v", e.Err)
	default:
		fmt.Fprintf(&b, ": exit status %d", e.RC)
	}
	if tail := lastLines(e.Stderr, 5, 1000); tail != "" {
		b.WriteString(": ")
		b.WriteString(tail)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// RC returns the exit code inside err: 0 for nil, -1 when err is no *Error.
func RC(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RC
	}
	return -1
}

// NotFound says whether err is that the program itself is not there.
func NotFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.RC < 0 && (errors.Is(e.Err, exec.ErrNotFound) || errors.Is(e.Err, fs.ErrNotExist))
}

// quoteArgv shows argv so that a person can paste it; long commands are cut.
func quoteArgv(argv []string) string {
	parts := make([]string, 0, len(argv))
	for _, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$`;|&<>()*?[]{}~#") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		parts = append(parts, a)
	}
	s := strings.Join(parts, " ")
	if len(s) > 400 {
		s = s[:400] + "..."
	}
	return s
}

// lastLines joins at most n last lines of s with "; ", at most limit bytes: the end is where programs say what went wrong.
func lastLines(s string, n, limit int) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return ""
	}
	lines := strings.Split(s, "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	s = strings.Join(lines, "; ")
	if len(s) > limit {
		s = "..." + s[len(s)-limit:]
	}
	return s
}
