//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

func TestExec(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	h.apply(t, file("ex", "10.171.1.0/24", box("ex-1", "ex", `echo started; `+forever, `env = { GREETING = "good day" }`)))
	t.Run("PassesTheExitCode", func(t *testing.T) {
		for _, code := range []int{0, 1, 7, 255} {
			if r := h.ctl("exec", "ex-1", "--", "sh", "-c", fmt.Sprintf("echo out; echo err >&2; exit %d", code)); r.code != code || r.stdout != "out\n" || r.stderr != "err\n" {
				t.Errorf("exit %d: %s", code, r)
			}
		}
	})
	t.Run("PipesStdin", func(t *testing.T) {
		text := strings.Repeat("0123456789abcde\n", 1<<16) // 1 MiB
		r := command(t.Context(), text, h.env(), rexctl, "exec", "-i", "ex-1", "--", "sh", "-c", "wc -c; echo $GREETING")
		if r.code != 0 || strings.Join(strings.Fields(r.stdout), " ") != "1048576 good day" {
			t.Errorf("wc -c of 1 MiB: %s", r)
		}
		r = command(t.Context(), text, h.env(), rexctl, "exec", "-i", "ex-1", "--", "cat")
		if r.stdout != text {
			t.Errorf("cat gave %d of %d bytes back, exit code %d, %s", len(r.stdout), len(text), r.code, r.stderr)
		}
	})
	t.Run("UnknownCommandIs127", func(t *testing.T) {
		r := h.ctl("exec", "ex-1", "--", "no-such-program")
		if r.code != 127 || !strings.Contains(r.stderr, "no-such-program") {
			t.Errorf("want 127 and the name: %s", r)
		}
	})
	t.Run("OfAnUnknownJailSaysSo", func(t *testing.T) {
		if r := h.ctl("exec", "ex-7", "--", "true"); r.code != 1 || !strings.Contains(r.stderr, `jail "ex-7": no such jail`) && !strings.Contains(r.stderr, "ex-7") {
			t.Errorf("want 1 and the name: %s", r)
		}
	})
	t.Run("GivesARealTerminal", func(t *testing.T) { execTerminal(t, h) })
	t.Run("Console", func(t *testing.T) { console(t, h) })
	t.Run("LogsFollow", func(t *testing.T) { followLogs(t, h) })
}

// session is a program on a terminal of its own.
type session struct {
	pty  *os.File
	cmd  *exec.Cmd
	done chan struct{} // closed when the output has ended

	mu  sync.Mutex
	out bytes.Buffer // guarded by mu
}

func onTerminal(t *testing.T, h *host, size pty.Winsize, args ...string) *session {
	t.Helper()
	s := &session{cmd: exec.Command(rexctl, args...), done: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), append(h.env(), "TERM=vt100")...)
	var err error
	if s.pty, err = pty.StartWithSize(s.cmd, &size); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		buf := make([]byte, 4096)
		for {
			n, err := s.pty.Read(buf)
			s.mu.Lock()
			s.out.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return // the program has ended
			}
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it usually has ended
		_ = s.pty.Close()
		<-s.done
	})
	return s
}

func (s *session) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

func (s *session) enter(t *testing.T, line string) {
	t.Helper()
	if _, err := s.pty.WriteString(line + "\r"); err != nil {
		t.Fatal(err)
	}
}

func (s *session) expect(t *testing.T, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	poll(t, 20*time.Second, "output like "+pattern, func() error {
		if text := s.text(); !re.MatchString(text) {
			return fmt.Errorf("have %q", text)
		}
		return nil
	})
}

// end waits for the program and returns its exit code.
func (s *session) end(t *testing.T) int {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not end; printed %q", s.text())
	}
	return s.cmd.ProcessState.ExitCode()
}

func execTerminal(t *testing.T, h *host) {
	s := onTerminal(t, h, pty.Winsize{Rows: 33, Cols: 101}, "exec", "-it", "ex-1", "--", "sh")
	s.enter(t, "test -t 0 && test -t 1 && echo is-a-$((40+2))-tty; stty size; echo $TERM")
	s.expect(t, `is-a-42-tty\r\n33 101\r\nvt100`)
	if err := pty.Setsize(s.pty, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	poll(t, 20*time.Second, "the new size arrives", func() error {
		s.enter(t, "stty size")
		if !strings.Contains(s.text(), "\n50 132\r\n") {
			return errors.New(s.text())
		}
		return nil
	})
	// ctrl-C goes to the program in the jail, not to rexctl.
	s.enter(t, "echo asleep-$((1+2)); sleep 1000")
	s.expect(t, `asleep-3\r\n`)
	s.enter(t, "\x03")
	s.enter(t, "echo still-$((1+1))-here")
	s.expect(t, `still-2-here\r\n`)
	s.enter(t, "exit 9")
	if code := s.end(t); code != 9 {
		t.Errorf("exit code %d, want the shell's 9; printed %q", code, s.text())
	}
}

func console(t *testing.T, h *host) {
	s := onTerminal(t, h, pty.Winsize{Rows: 24, Cols: 80}, "console", "ex-1")
	s.enter(t, "hostname; id -u")
	s.expect(t, `ex-1\r\n0\r\n`)
	s.enter(t, "exit")
	if code := s.end(t); code != 0 {
		t.Errorf("console ended with %d; printed %q", code, s.text())
	}
}

func followLogs(t *testing.T, h *host) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, rexctl, "logs", "-f", "ex-1")
	cmd.Env = append(os.Environ(), h.env()...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	want := func(text string) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), text) {
			t.Fatalf("logs -f printed %q, want a line with %q (%v)", lines.Text(), text, lines.Err())
		}
	}
	want("started")
	h.must(t, "exec", "ex-1", "--", "sh", "-c", "echo fresh-line >>/proc/1/fd/1")
	want("fresh-line")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // an interrupt is no failure here
	if r := h.ctl("logs", "-n", "1", "ex-1"); r.code != 0 || !strings.Contains(r.stdout, "fresh-line") || strings.Contains(r.stdout, "started") {
		t.Errorf("logs -n 1: %s", r)
	}
}
