package run

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func sh(script string) Cmd { return Cmd{Argv: []string{"sh", "-c", script}} }

func TestErrorHoldsArgvExitCodeAndStderr(t *testing.T) {
	t.Parallel()
	res, err := Real{}.Run(t.Context(), sh("echo out; echo why >&2; exit 7"))
	e, ok := errors.AsType[*Error](err)
	if !ok || e.RC != 7 || RC(err) != 7 || res.RC != 7 {
		t.Fatalf("got %v (rc %d), want *Error with rc 7", err, res.RC)
	}
	if e.Stderr != "why" || string(res.Stdout) != "out\n" {
		t.Errorf("got stderr %q stdout %q", e.Stderr, res.Stdout)
	}
	if want := `sh -c 'echo out; echo why >&2; exit 7': exit status 7: why`; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestProgramThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	_, err := Real{}.Run(t.Context(), Cmd{Argv: []string{"no-such-program-xyz"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-program-xyz") || RC(err) != -1 {
		t.Fatalf("got %v", err)
	}
	if _, err := (Real{}).Run(t.Context(), Cmd{}); err == nil {
		t.Error("an empty argv ran")
	}
}

func TestDeadlineKillsTheWholeGroup(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	c := sh("sleep 1000 & echo $! >" + pidFile + "; wait")
	c.Timeout = 300 * time.Millisecond
	_, err := Real{}.Run(t.Context(), c)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "killed after") {
		t.Fatalf("got %v", err)
	}
	raw, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	waitGone(t, pid)
}

// waitGone polls until pid is no more, or only a zombie that its new parent has yet to reap.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if (err != nil && syscall.Kill(pid, 0) != nil) || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
	}
	t.Errorf("process %d is still there", pid)
}

func TestGraceLetsTheProcessCleanUp(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	c := sh("trap 'echo clean >" + mark + "; exit 3' TERM; sleep 1000 & wait")
	c.Timeout, c.Grace = 300*time.Millisecond, 5*time.Second
	if _, err := (Real{}).Run(t.Context(), c); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if raw, err := os.ReadFile(mark); err != nil || string(raw) != "clean\n" {
		t.Errorf("trap did not run: %q %v", raw, err)
	}
}

func TestEnvironmentStdinAndStreams(t *testing.T) {
	t.Setenv("SEEN", "ours")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	c := sh("echo $LC_ALL $SEEN $X; cat")
	c.Stdin, c.Env = strings.NewReader("in"), []string{"X=1"}
	var out bytes.Buffer
	c.Stdout = &out
	if _, err := (Real{}).Run(t.Context(), c); err != nil || out.String() != "C ours 1\nin" {
		t.Fatalf("got %q, %v", out.String(), err)
	}
	c = sh("echo -$SEEN-$X")
	c.CleanEnv, c.Env = true, []string{"X=2"}
	if res, err := (Real{}).Run(t.Context(), c); err != nil || string(res.Stdout) != "--2\n" {
		t.Fatalf("got %q, %v", res.Stdout, err)
	}
}

func TestDaemonLeftBehindDoesNotHang(t *testing.T) {
	t.Parallel()
	c := sh("sleep 30 & echo $!")
	begin := time.Now()
	res, err := Real{}.Run(t.Context(), c)
	if err != nil || time.Since(begin) > 15*time.Second {
		t.Fatalf("got %v after %v", err, time.Since(begin))
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(res.Stdout)))
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestSignalIsReportedAs128Plus(t *testing.T) {
	t.Parallel()
	res, err := Real{}.Run(t.Context(), sh("kill -9 $$"))
	if res.RC != 137 || RC(err) != 137 {
		t.Fatalf("got %d, %v; want 137", res.RC, err)
	}
}

func TestStartedProcessHasItsOwnSession(t *testing.T) {
	t.Parallel()
	c := sh("exec sleep 1000")
	c.NewSession = true
	p, err := Real{}.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if pgid, err := syscall.Getpgid(p.PID); err != nil || pgid != p.PID {
		t.Errorf("got process group %d, %v, want %d", pgid, err, p.PID)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if res, _ := p.Wait(); res.RC != 128+15 {
		t.Errorf("got rc %d, want 143", res.RC)
	}
	if _, err := (Real{}).Start(Cmd{Argv: []string{"true"}, Stdout: &bytes.Buffer{}}); err == nil {
		t.Error("a stream that nobody would copy was accepted")
	}
}

func TestCommandRunsInTheNamedNetworkNamespace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("network namespaces are a thing of linux")
	}
	testenv.RequireRoot(t)
	unshare := testenv.RequireTool(t, "unshare")
	file := filepath.Join(t.TempDir(), "ns")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Real{}).Run(t.Context(), Cmd{Argv: []string{unshare, "--net=" + file, "true"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = Real{}.Run(context.Background(), Cmd{Argv: []string{"umount", file}}) })
	ns := func(path string) string {
		res, err := Real{}.Run(t.Context(), Cmd{Argv: []string{"readlink", "/proc/self/ns/net"}, NetNS: path})
		if err != nil {
			t.Fatal(err)
		}
		return string(res.Stdout)
	}
	home, _ := os.Readlink("/proc/self/ns/net")
	if inside := ns(file); strings.TrimSpace(inside) == home {
		t.Errorf("ran in our own namespace %s", inside)
	}
	if back := strings.TrimSpace(ns("")); back != home {
		t.Errorf("thread did not come home: %s, want %s", back, home)
	}
	if _, err := (Real{}).Run(t.Context(), Cmd{Argv: []string{"true"}, NetNS: file + "x"}); err == nil || !strings.Contains(err.Error(), "network namespace") {
		t.Errorf("missing namespace: got %v", err)
	}
}

func TestTranscriptAnswersInOrderAndComplains(t *testing.T) {
	t.Parallel()
	tr, err := NewTranscript(`
# a comment
$ zfs list -Hp
tank
$ zfs destroy 'a b'
! busy
? 1
$ nft -f -
< add table x
`)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := tr.Run(t.Context(), Cmd{Argv: []string{"zfs", "list", "-Hp"}}); err != nil || string(res.Stdout) != "tank\n" {
		t.Fatalf("got %q, %v", res.Stdout, err)
	}
	if _, err := tr.Run(t.Context(), Cmd{Argv: []string{"zfs", "destroy", "a b"}}); RC(err) != 1 || !strings.HasSuffix(err.Error(), "exit status 1: busy") {
		t.Fatalf("got %v", err)
	}
	if tr.Done() == nil {
		t.Error("done before the last call")
	}
	if _, err := tr.Run(t.Context(), Cmd{Argv: []string{"nft", "-f", "-"}, Stdin: strings.NewReader("other\n")}); err == nil || !strings.Contains(err.Error(), "line 8") {
		t.Errorf("wrong input: got %v", err)
	}
	if tr.Done() == nil {
		t.Error("a wrong call was forgotten")
	}
	if _, err := NewTranscript("out\n$ x"); err == nil {
		t.Error("output before a command was accepted")
	}
}

func TestOneWriterForBothStreamsIsWrittenByOneGoroutine(t *testing.T) {
	t.Parallel()
	var both bytes.Buffer
	c := sh("for i in 1 2 3 4 5 6 7 8; do echo out; echo err >&2; done; exit 1")
	c.Stdout, c.Stderr = &both, &both
	_, err := Real{}.Run(t.Context(), c)
	if both.String() != strings.Repeat("out\nerr\n", 8) {
		t.Errorf("got %q", both.String())
	}
	if !strings.Contains(err.Error(), "err") {
		t.Errorf("error lost the output: %v", err)
	}
}

func TestAProgramThatIsNotThereIsKnown(t *testing.T) {
	t.Parallel()
	for argv0, want := range map[string]bool{"/nonexistent/x": true, "no-such-program-anywhere": true, "false": false} {
		_, err := Real{}.Run(t.Context(), Cmd{Argv: []string{argv0}})
		if got := NotFound(err); got != want || err == nil {
			t.Errorf("%s: got %v (%v), want %v", argv0, got, err, want)
		}
	}
	if NotFound(nil) {
		t.Error("success is no missing program")
	}
}
