package jail

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestExecPassesStreamsEnvironmentUserAndCode(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	f.spec.Env = []string{"A=jail", "B=jail"}
	f.start()
	var out, errOut bytes.Buffer
	code, err := f.Exec(f.ctx(), f.spec.ID, Exec{
		Argv: []string{"sh", "-c", "echo $A $B $HOME $(id -u) $(pwd); cat; echo warn >&2; exit 9"},
		Env:  []string{"B=exec"}, User: "web", WorkDir: "/tmp", Stdin: strings.NewReader("in\n"), Stdout: &out, Stderr: &errOut,
	})
	if err != nil || code != 9 || out.String() != "jail exec /home/web 1000 /tmp\nin\n" || errOut.String() != "warn\n" {
		t.Errorf("got %d %v %q %q", code, err, out.String(), errOut.String())
	}
	if code, out := f.sh("kill -9 $$"); code != 137 {
		t.Errorf("killed command: got %d %q, want 137", code, out)
	}
	// Process 1 of the jail is visible, nothing of the host is.
	if code, out := f.sh("cat /proc/1/comm; ls /proc | grep -cE '^[0-9]+$'"); code != 0 || !strings.HasPrefix(out, "sleep\n") || len(out) != len("sleep\n3\n") {
		t.Errorf("got %d %q", code, out)
	}
}

func TestExecOfWhatIsNotThereIs127(t *testing.T) {
	t.Parallel()
	onEveryDriver(t, func(t *testing.T, f *rig) {
		f.start()
		for argv0, want := range map[string]int{"no-such": 127, "/bin/no-such": 127, "/etc/passwd": 126, "/etc": 126} {
			var errOut bytes.Buffer
			code, err := f.Exec(f.ctx(), f.spec.ID, Exec{Argv: []string{argv0}, Stderr: &errOut})
			if err != nil || code != want || !strings.Contains(errOut.String(), argv0) {
				t.Errorf("%s: got %d %v %q, want %d", argv0, code, err, errOut.String(), want)
			}
		}
		if _, err := f.Exec(f.ctx(), "rex-none", Exec{Argv: []string{"true"}}); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown jail: %v", err)
		}
		if _, err := f.Exec(f.ctx(), f.spec.ID, Exec{Argv: []string{"true"}, User: "who"}); err == nil || !strings.Contains(err.Error(), `no user "who"`) {
			t.Errorf("unknown user: %v", err)
		}
		_, err := f.Stop(f.ctx(), f.spec.ID, time.Millisecond)
		must(t, err)
		if _, err := f.Exec(f.ctx(), f.spec.ID, Exec{Argv: []string{"true"}}); !errors.Is(err, ErrNotRunning) {
			t.Errorf("stopped jail: %v", err)
		}
	})
}

func TestExecEndsWithItsCallerAndLeavesNoProcess(t *testing.T) {
	t.Parallel()
	onEveryDriver(t, func(t *testing.T, f *rig) {
		f.start()
		ctx, cancel := context.WithCancel(f.ctx())
		never, hold := io.Pipe() // input that never ends must not keep us
		defer hold.Close()
		out := &watched{want: "up", found: cancel}
		begin := time.Now()
		_, err := f.Exec(ctx, f.spec.ID, Exec{Argv: []string{"sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"}, Stdin: never, Stdout: out})
		if !errors.Is(err, context.Canceled) || time.Since(begin) > 20*time.Second {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		eventually(t, func() bool {
			_, ps := f.sh("ps")
			return !strings.Contains(ps, "echo up")
		})
	})
}

// eventually polls until ok, at most 10 s.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if ok() {
			return
		}
	}
	t.Error("did not happen within 10 s")
}

// watched is a writer that calls found when want has appeared.
type watched struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	want  string
	found func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if w.want != "" && strings.Contains(w.buf.String(), w.want) {
		w.want = ""
		w.found()
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func TestExecOnATerminalHasSizeJobControlAndCode(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	f.start()
	in, typed := io.Pipe()
	resize := make(chan WinSize)
	out := &watched{}
	say := func(line, until string) {
		seen := make(chan struct{})
		out.mu.Lock()
		out.buf.Reset()
		out.want, out.found = until, func() { close(seen) }
		out.mu.Unlock()
		if _, err := io.WriteString(typed, line); err != nil {
			t.Fatal(err)
		}
		select {
		case <-seen:
		case <-time.After(10 * time.Second):
			t.Fatalf("after %q: %q did not come: %q", line, until, out.String())
		}
	}
	type result struct {
		code int
		err  error
	}
	done := make(chan result, 1)
	ctx := f.ctx()
	go func() {
		code, err := f.Exec(ctx, f.spec.ID, Exec{
			Argv: []string{"sh", "-i"}, Env: []string{"PS1=> "}, TTY: true, Size: WinSize{Rows: 30, Cols: 100},
			Stdin: in, Stdout: out, Resize: resize,
		})
		done <- result{code, err}
		_ = in.Close() // or a failed session would block who types
	}()
	say("tty\n", "/dev/pts/")
	say("stty size\n", "30 100")
	resize <- WinSize{Rows: 40, Cols: 120}
	eventually(t, func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		if strings.Contains(out.buf.String(), "40 120") {
			return true
		}
		out.mu.Unlock()
		say("stty size; echo do''ne\n", "done")
		out.mu.Lock()
		return strings.Contains(out.buf.String(), "40 120")
	})
	say("sleep 777\n", "sleep 777")
	eventually(t, func() bool { // echoed is not yet started
		_, ps := f.sh("ps | grep -v grep")
		return strings.Contains(ps, "sleep 777")
	})
	say("\x03", "> ") // ctrl-C reaches the foreground job, not the shell
	say("sleep 500 &\n", "> ")
	say("jobs\n", "Running")
	say("kill %1; echo TERM=$TERM\n", "TERM=xterm")
	if _, err := io.WriteString(typed, "exit 5\n"); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.err != nil || r.code != 5 {
		t.Errorf("got %d %v, want 5; screen %q", r.code, r.err, out.String())
	}
}

func TestEndOfInputEndsATerminalSession(t *testing.T) {
	t.Parallel()
	onEveryDriver(t, func(t *testing.T, f *rig) {
		f.start()
		var out bytes.Buffer
		code, err := f.Exec(f.ctx(), f.spec.ID, Exec{Argv: []string{"sh", "-c", "cat; exit 4"}, TTY: true, Stdin: strings.NewReader("line\n"), Stdout: &out})
		if err != nil || code != 4 || !strings.Contains(out.String(), "line") {
			t.Errorf("got %d %v %q", code, err, out.String())
		}
	})
}

// What a command says right before it ends is heard: a runtime that relays the terminal may end before it has.
func TestATerminalLosesNothingAtTheEnd(t *testing.T) {
	t.Parallel()
	onEveryDriver(t, func(t *testing.T, f *rig) {
		f.start()
		for range 10 {
			var out bytes.Buffer
			code, err := f.Exec(f.ctx(), f.spec.ID, Exec{Argv: []string{"sh", "-c", "echo the last word"}, TTY: true, Stdout: &out})
			if err != nil || code != 0 || !strings.Contains(out.String(), "the last word") {
				t.Fatalf("got %d %v %q", code, err, out.String())
			}
		}
	})
}
