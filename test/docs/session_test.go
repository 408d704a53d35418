package docs_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long one command may take.
const patience = 60 * time.Second

// session is one reader at one terminal, with a daemon in another.
type session struct {
	dir     string
	env     []string
	replace *strings.Replacer // what the pages call things -> what they are here
	restore *strings.Replacer

	shell  *exec.Cmd
	in     io.WriteCloser
	lines  chan string
	pwd    string
	daemon *exec.Cmd
}

const marker = "=== rexcarcer-docs-test"

func newSession(t *testing.T, p page) *session {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatalf("build the programs: %v", err)
	}
	dir, err := os.MkdirTemp("", "rexcarcer-docs-") //nolint:usetesting // the path of a socket has at most 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	run := filepath.Join(dir, ".run") // short: a socket's path has at most 108 bytes
	port := ports(t, 7372, 7373, 7374, 9090)
	s := &session{dir: dir, pwd: dir, env: env(dir, run, bin, port), lines: make(chan string, 1024)}
	var there, back []string
	for _, n := range []int{7372, 7373, 7374, 9090} {
		here := strconv.Itoa(port[n])
		there = append(there, "127.0.0.1:"+strconv.Itoa(n), "127.0.0.1:"+here, "-p "+strconv.Itoa(n), "-p "+here)
		back = append(back, ":"+here, ":"+strconv.Itoa(n), "-p "+here, "-p "+strconv.Itoa(n))
	}
	s.replace = strings.NewReplacer(append(there, "/var/run/rexcarcer", run)...)
	s.restore = strings.NewReplacer(append(back, run, "/var/run/rexcarcer")...)
	for name, target := range map[string]string{"bin": bin, "examples": "../../examples"} {
		target, err := filepath.Abs(target)
		if err == nil {
			err = os.Symlink(target, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.startShell(t)
	t.Cleanup(func() { s.stopDaemon(t) }) // runs before the directory goes
	return s
}

func (s *session) startShell(t *testing.T) {
	t.Helper()
	s.shell = exec.Command("bash", "--norc", "--noprofile")
	s.shell.Dir, s.shell.Env = s.dir, s.env
	s.shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.shell.Stdout, s.shell.Stderr = w, w
	if s.in, err = s.shell.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.shell.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	go func() {
		defer close(s.lines)
		for sc := bufio.NewScanner(r); sc.Scan(); {
			s.lines <- sc.Text()
		}
	}()
	t.Cleanup(func() {
		_ = s.in.Close()
		_ = syscall.Kill(-s.shell.Process.Pid, syscall.SIGKILL) // with all that it left in the background
		_ = s.shell.Wait()
		_ = r.Close()
	})
}

// run types one command and compares what it prints.
func (s *session) run(t *testing.T, st step) {
	t.Helper()
	begun := time.Now()
	fmt.Fprintf(s.in, "{ %s\n} </dev/null\nprintf '\\n%s %%d %%s\\n' $? \"$PWD\"\n", s.replace.Replace(st.command), marker)
	out, code := s.collect(t, st)
	t.Logf("line %d, %s: %s\n%s", st.line, time.Since(begun).Round(time.Millisecond), st.command, out)
	if code != 0 {
		t.Fatalf("line %d: exit code %d of: %s", st.line, code, st.command)
	}
	if w := missing(out, st.want); w != "" {
		t.Fatalf("line %d: the page shows this line after %q, the command did not print it (or not in this place):\n%s", st.line, st.command, w)
	}
}

func (s *session) collect(t *testing.T, st step) (out string, code int) {
	t.Helper()
	var text strings.Builder
	late := time.After(patience)
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				t.Fatalf("line %d: the shell ended in: %s\n%s", st.line, st.command, text.String())
			}
			if rest, ok := strings.CutPrefix(line, marker+" "); ok {
				number, pwd, _ := strings.Cut(rest, " ")
				code, _ = strconv.Atoi(number)
				s.pwd = pwd
				return s.restore.Replace(text.String()), code
			}
			text.WriteString(line + "\n")
		case <-late:
			t.Fatalf("line %d: no end after %s: %s\n%s", st.line, patience, st.command, text.String())
		}
	}
}

// write makes a file where the reader's shell is.
func (s *session) write(t *testing.T, st step) {
	t.Helper()
	path := filepath.Join(s.pwd, st.file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(s.replace.Replace(st.text)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// startDaemon runs a command in the background and waits until rexctl reaches it.
func (s *session) startDaemon(t *testing.T, st step) {
	t.Helper()
	var out bytes.Buffer
	s.daemon = exec.Command("bash", "-c", "exec "+s.replace.Replace(st.command))
	s.daemon.Dir, s.daemon.Env, s.daemon.Stdout, s.daemon.Stderr = s.pwd, s.env, &out, &out
	s.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // out of reach of the shell's end
	if err := s.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon wrote:\n%s", out.String())
		}
	})
	ask := func() error {
		c := exec.Command(filepath.Join(s.dir, "bin", "rexctl"), "status")
		c.Env = s.env
		return c.Run()
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(20 * time.Second); ask() != nil; {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("line %d: rexctl does not reach the daemon: %s", st.line, st.command)
		}
	}
}

// stopDaemon is Ctrl-C in the other terminal.
func (s *session) stopDaemon(t *testing.T) {
	t.Helper()
	if s.daemon == nil {
		return
	}
	_ = s.daemon.Process.Signal(syscall.SIGINT)
	done := make(chan error, 1)
	go func() { done <- s.daemon.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the daemon ended badly: %v", err)
		}
	case <-time.After(patience):
		_ = s.daemon.Process.Kill()
		<-done
		t.Errorf("the daemon did not end within %s", patience)
	}
}
