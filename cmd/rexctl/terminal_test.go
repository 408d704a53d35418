//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/rexcarcer/rexcarcer/api/apitest"
)

// screen collects what a command prints on a terminal.
type screen struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// onTerminal is an env whose input is a terminal; keys are what is typed.
func onTerminal(t *testing.T) (e *env, tty, keys *os.File, out *screen) {
	t.Helper()
	keys, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close(); _ = tty.Close() })
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 33, Cols: 99}); err != nil {
		t.Fatal(err)
	}
	e = testEnv(t)
	out = &screen{}
	e.stdin, e.stdout, e.stderr, e.inTTY, e.outTTY, e.errTTY = tty, out, out, true, true, true
	return e, tty, keys, out
}

func applyOn(t *testing.T, e *env) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cluster.hcl")
	text := "cluster \"demo\" {}\nnetwork \"net\" {\n  subnet = \"10.1.2.0/24\"\n}\nimage \"base\" {\n  base = \"debian:bookworm\"\n}\n" +
		"jail \"web\" {\n  image = \"base\"\n  network = \"net\"\n  command = [\"/bin/web\"]\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"rexctl", "apply", file}, e); code != 0 {
		t.Fatalf("apply: exit code %d", code)
	}
}

// TestTerminalIsRawInTheSessionAndRestoredAfterIt: with -it the jail's end does
// the echo; afterwards the user's terminal is as before, however it ended.
func TestTerminalIsRawInTheSessionAndRestoredAfterIt(t *testing.T) {
	for _, tc := range []struct {
		argv []string
		keys string
		want string
		code int
	}{
		{[]string{"exec", "-it", "web", "--", "env"}, "", "env=TERM=xterm tty=true size=99x33", 0},
		{[]string{"exec", "-it", "web", "--", "exit", "9"}, "", "", 9},
		{[]string{"exec", "-ti", "web", "--", "nonsense"}, "", "no such file in the jail", 1},
		{[]string{"console", "web"}, "echo typed\nexit 4\n", "typed", 4},
	} {
		// A terminal for each: a session leaves its last read of the keyboard
		// behind, which ends with the process.
		e, tty, keys, out := onTerminal(t)
		applyOn(t, e)
		before, err := term.GetState(int(tty.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.WriteString(tc.keys); err != nil {
			t.Fatal(err)
		}
		code := run(t.Context(), append([]string{"rexctl"}, tc.argv...), e)
		if code != tc.code || !strings.Contains(out.String(), tc.want) {
			t.Errorf("%q: exit code %d, want %d; screen lacks %q:\n%s", tc.argv, code, tc.code, tc.want, out)
		}
		after, err := term.GetState(int(tty.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		if *after != *before {
			t.Errorf("%q: the terminal was not restored", tc.argv)
		}
	}
}

// TestCtrlCEndsASessionAndRestores: the context is what a signal ends.
func TestCtrlCEndsASessionAndRestores(t *testing.T) {
	e, tty, _, out := onTerminal(t)
	applyOn(t, e)
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"rexctl", "exec", "-it", "web", "--", "hang"}, e) }()
	apitest.Eventually(t, "the command runs", func() bool { return strings.Contains(out.String(), "hanging") })
	during, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *during == *before {
		t.Error("the terminal is not raw in the session")
	}
	cancel()
	if code := <-ended; code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if after, err := term.GetState(int(tty.Fd())); err != nil || *after != *before {
		t.Errorf("the terminal was not restored: %v", err)
	}
}

func TestDestructiveVerbsAskOnATerminal(t *testing.T) {
	e, _, keys, out := onTerminal(t)
	applyOn(t, e)
	for _, tc := range []struct {
		answer string
		code   int
		want   string
	}{
		{"n\n", 1, "nothing was changed"},
		{"\n", 1, "nothing was changed"},
		{"y\n", 0, "wanted stopped"},
	} {
		if _, err := keys.WriteString(tc.answer); err != nil {
			t.Fatal(err)
		}
		if code := run(t.Context(), []string{"rexctl", "jail", "stop", "web"}, e); code != tc.code {
			t.Errorf("answer %q: exit code %d, want %d", tc.answer, code, tc.code)
		}
		if s := out.String(); !strings.Contains(s, "Stop jail web? [y/N]") || !strings.Contains(s, tc.want) {
			t.Errorf("answer %q: screen lacks the question or %q:\n%s", tc.answer, tc.want, s)
		}
	}
}

func TestColourOnlyOnATerminalAndNotWithNoColor(t *testing.T) {
	e, _, _, out := onTerminal(t)
	applyOn(t, e)
	if run(t.Context(), []string{"rexctl", "ps"}, e); !strings.Contains(out.String(), "\x1b[32mhealthy") {
		t.Errorf("no colour on a terminal:\n%q", out)
	}
	plainEnv := *e
	var b screen
	plainEnv.stdout, plainEnv.outTTY = &b, false
	if run(t.Context(), []string{"rexctl", "ps"}, &plainEnv); strings.Contains(b.String(), "\x1b") {
		t.Errorf("colour without a terminal: %q", &b)
	}
	var c screen
	getenv := e.getenv
	e.stdout, e.getenv = &c, func(k string) string {
		if k == "NO_COLOR" {
			return "1"
		}
		return getenv(k)
	}
	if run(t.Context(), []string{"rexctl", "ps"}, e); strings.Contains(c.String(), "\x1b") || !strings.Contains(c.String(), "healthy") {
		t.Errorf("colour with NO_COLOR: %q", &c)
	}
}

// TestCtrlCOnlyDetachesFromAnApply: the wish stays applied, and the user is told.
func TestCtrlCOnlyDetachesFromAnApply(t *testing.T) {
	e, _, _, out := onTerminal(t)
	applyOn(t, e)
	file := filepath.Join(t.TempDir(), "sick.hcl")
	text := "cluster \"sick\" {}\njail \"sick\" {\n  image = \"base\"\n  network = \"net\"\n  command = [\"/bin/sick\"]\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"rexctl", "apply", file}, e) }()
	apitest.Eventually(t, "apply waits", func() bool { return strings.Contains(out.String(), "jail sick: running, unhealthy") })
	cancel()
	if code := <-ended; code != exitPartial {
		t.Errorf("exit code %d, want %d", code, exitPartial)
	}
	if !strings.Contains(out.String(), "detached: the cluster goes on without you") {
		t.Errorf("does not say so:\n%s", out)
	}
	if run(t.Context(), []string{"rexctl", "ps", "-q"}, e); !strings.HasSuffix(out.String(), "sick\nweb\n") {
		t.Errorf("the wish is not applied:\n%s", out)
	}
}
