package jail

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// TestMain lets this binary play the daemon that a test kills: it starts what DAEMON_SPEC says, prints the pid, and hangs.
func TestMain(m *testing.M) {
	if os.Getenv("REXTEST_REAP") != "" {
		os.Exit(reapOrphans())
	}
	raw := os.Getenv("REXTEST_DAEMON")
	if raw == "" {
		os.Exit(m.Run())
	}
	var in struct {
		State  string
		Spec   Spec
		Reaper bool
		Wait   bool
	}
	check := func(err error) {
		if err != nil {
			_, _ = os.Stdout.WriteString("error: " + err.Error() + "\n")
			os.Exit(1)
		}
	}
	check(json.Unmarshal([]byte(raw), &in))
	if in.Reaper {
		check(BecomeReaper())
	}
	l, err := NewLinux(LinuxConfig{StateDir: in.State, Instance: instanceOf(in.State), Runtime: os.Getenv("REXTEST_RUNTIME")})
	check(err)
	_, err = l.Probe(context.Background())
	check(err)
	_, _ = os.Stdout.WriteString("probed\n")
	st, err := l.Start(context.Background(), in.Spec)
	check(err)
	out, err := json.Marshal(st)
	check(err)
	_, _ = os.Stdout.WriteString(string(out) + "\n")
	if !in.Wait {
		select {}
	}
	st, err = l.Wait(context.Background(), in.Spec.ID)
	check(err)
	out, err = json.Marshal(st)
	check(err)
	_, _ = os.Stdout.WriteString(string(out) + "\n")
	os.Exit(0)
}

// reapOrphans is a process that inherits an orphan, and must not keep its zombie.
func reapOrphans() int {
	if BecomeReaper() != nil {
		return 1
	}
	_, err := run.Real{}.Run(context.Background(), run.Cmd{Argv: []string{"sh", "-c", "sleep 0.1 >/dev/null 2>&1 &"}})
	if pids, cerr := children(); err != nil || cerr != nil || len(pids) != 1 {
		return 2 // no orphan came
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if pids, err := children(); err == nil && len(pids) == 0 {
				cancel()
			}
		}
	}()
	if err := ReapOrphans(ctx, 20*time.Millisecond); !errors.Is(err, context.Canceled) {
		return 3 // still there
	}
	return 0
}

func TestOrphansDoNotStayZombies(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	if _, err := (run.Real{}).Run(t.Context(), run.Cmd{Argv: []string{self}, Env: []string{"REXTEST_REAP=1"}}); err != nil {
		t.Error(err)
	}
}

type daemon struct {
	t    *testing.T
	proc *run.Process
	out  *bufio.Reader
}

func newDaemon(t *testing.T, f *fixture, reaper, wait bool) *daemon {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"State": f.cfg.StateDir, "Spec": f.spec, "Reaper": reaper, "Wait": wait})
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	r, w, err := os.Pipe()
	must(t, err)
	p, err := run.Real{}.Start(run.Cmd{Argv: []string{self}, Env: []string{"REXTEST_DAEMON=" + string(raw)}, Stdout: w, Stderr: w})
	must(t, err)
	must(t, w.Close())
	t.Cleanup(func() { _ = r.Close() })
	return &daemon{t: t, proc: p, out: bufio.NewReader(r)}
}

func (d *daemon) line() string {
	d.t.Helper()
	l, err := d.out.ReadString('\n')
	if err != nil || strings.HasPrefix(l, "error:") {
		d.t.Fatalf("daemon says %q, %v", l, err)
	}
	return strings.TrimSpace(l)
}

func (d *daemon) status() Status {
	var s Status
	must(d.t, json.Unmarshal([]byte(d.line()), &s))
	return s
}

func (d *daemon) kill() {
	must(d.t, syscall.Kill(d.proc.PID, syscall.SIGKILL))
	_, _ = d.proc.Wait()
}

func TestCase53JailOutlivesItsKilledDaemonAndIsAdopted(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	f.spec.Argv = []string{"sh", "-c", "trap 'echo bye; exit 6' TERM; while :; do echo tick; sleep 0.05; done"}
	d := newDaemon(t, f, true, false)
	d.line()
	before := d.status()
	eventually(t, func() bool { return strings.Contains(f.logged(), "tick") })
	d.kill()

	ls, err := f.List(f.ctx())
	must(t, err)
	if len(ls) != 1 || ls[0].PID != before.PID || ls[0].Phase != Running || ls[0].Seq != 7 || ls[0].UUID != "u-1" || !ls[0].StartedAt.Equal(before.StartedAt) {
		t.Fatalf("got %+v, want %+v", ls, before)
	}
	n := len(f.logged())
	eventually(t, func() bool { return len(f.logged()) > n }) // it still writes
	if st := f.start(); st.PID != before.PID {
		t.Errorf("start made another: %+v", st)
	}
	if code, out := f.sh("cat /proc/1/comm"); code != 0 || out != "sh\n" {
		t.Errorf("exec in an adopted jail: %d %q", code, out)
	}
	ended := make(chan Status, 1)
	go func() {
		st, err := f.Wait(context.WithoutCancel(f.ctx()), f.spec.ID)
		if err != nil {
			t.Error(err)
		}
		ended <- st
	}()
	st, err := f.Stop(f.ctx(), f.spec.ID, 10*time.Second)
	must(t, err)
	if w := <-ended; w.Exit == nil || st.Exit == nil || *w.Exit != *st.Exit {
		t.Errorf("wait %+v, stop %+v", w.Exit, st.Exit)
	}
	if exitInfoSupported() && (!st.Exit.Known || st.Exit.Code != 6) {
		t.Errorf("got %+v, want 6", st.Exit)
	}
}

func TestExitWhileNobodyWatchedIsUnknown(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	f.spec.Argv = []string{"sleep", "1000"}
	d := newDaemon(t, f, false, false)
	d.line()
	st := d.status()
	d.kill()
	must(t, syscall.Kill(st.PID, syscall.SIGKILL))
	eventually(t, func() bool { return len(f.cg.pids(f.spec.ID)) == 0 && syscall.Kill(st.PID, 0) != nil })
	ls, err := f.List(f.ctx())
	must(t, err)
	if len(ls) != 1 || ls[0].Phase != Stopped || ls[0].Exit.Known {
		t.Errorf("got %+v", ls)
	}
}

func TestReaperLearnsTheExitCodeAndLeavesNoZombie(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	f.spec.Argv = []string{"sh", "-c", "exit 11"}
	d := newDaemon(t, f, true, true)
	d.line()
	d.status()
	if st := d.status(); st.Exit == nil || !st.Exit.Known || st.Exit.Code != 11 {
		t.Errorf("got %+v", st.Exit)
	}
	if _, err := d.proc.Wait(); err != nil {
		t.Error(err)
	}
}

func TestCase55KillAtAnyMomentOfAStartThenRetryConverges(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	for i := range 12 {
		d := newDaemon(t, f, true, false)
		d.line()
		until := time.Now().Add(time.Duration(i) * 3 * time.Millisecond)
		for time.Now().Before(until) { // spread the kills over the length of a start
		}
		d.kill()
		ls, err := f.List(f.ctx())
		must(t, err)
		if len(ls) > 1 {
			t.Fatalf("kill %d: got %+v", i, ls)
		}
		st, err := f.Start(f.ctx(), f.spec)
		must(t, err)
		if st.Phase != Running || len(f.cg.pids(f.spec.ID)) != 1 {
			t.Fatalf("kill %d: got %+v with processes %v", i, st, f.cg.pids(f.spec.ID))
		}
		if i%2 == 0 {
			must(t, f.Remove(f.ctx(), f.spec.ID))
			if left, _ := os.ReadDir(f.cfg.StateDir); len(left) > 1 {
				t.Fatalf("kill %d: left %v", i, left)
			}
			continue
		}
		if _, err := f.Stop(f.ctx(), f.spec.ID, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBrokenRecordIsShownAndCanBeStartedOver(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	must(t, os.MkdirAll(f.dir(f.spec.ID), 0o700))
	must(t, os.WriteFile(filepath.Join(f.dir(f.spec.ID), "record.json"), []byte("{"), 0o600))
	ls, err := f.List(f.ctx())
	must(t, err)
	if len(ls) != 1 || ls[0].Phase != Created || ls[0].ID != f.spec.ID {
		t.Errorf("got %+v", ls)
	}
	if st := f.start(); st.Phase != Running {
		t.Errorf("got %+v", st)
	}
}

func TestAProbeThatAKilledDaemonLeftIsReplaced(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	first := newDriver(t, state)
	want, err := first.Probe(t.Context())
	must(t, err)
	root, err := probeRoot(state, IDMap{})
	must(t, err)
	// As the probe for user namespaces, which never ends by itself.
	_, err = first.Start(t.Context(), Spec{ID: probeID, Name: probeID, UUID: "u", Seq: 1, Root: root, Argv: []string{"/pause"}})
	must(t, err)
	must(t, first.Close())

	second := newDriver(t, state)
	begun := time.Now()
	got, err := second.Probe(t.Context())
	must(t, err)
	if got.Runtime != want.Runtime || got.UserNS != want.UserNS || time.Since(begun) > 10*time.Second {
		t.Errorf("after %s it has chosen %+v, want %+v", time.Since(begun), got, want)
	}
	left, err := os.ReadDir(state)
	must(t, err)
	for _, e := range left {
		if e.Name() != ".runtime" {
			t.Errorf("left: %s", e.Name())
		}
	}
}

func TestExecUsesTheRuntimeThatStartedTheJail(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "crun")
	testenv.RequireTool(t, "runc")
	root, state := newRoot(t, IDMap{}), t.TempDir()
	with := func(name string) *Linux {
		l, err := NewLinux(LinuxConfig{StateDir: state, Instance: instanceOf(state), Runtime: name})
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	for _, pair := range [][2]string{{"runc", "crun"}, {"crun", "runc"}} {
		first := with(pair[0])
		_, err := first.Start(t.Context(), Spec{ID: "rex-1", Name: "web-1", UUID: "u", Seq: 1, Root: root, Argv: []string{"sleep", "1000"}})
		must(t, err)
		must(t, first.Close())
		second := with(pair[1])
		code, err := second.Exec(t.Context(), "rex-1", Exec{Argv: []string{"sh", "-c", "exit 7"}})
		if err != nil || code != 7 {
			t.Errorf("started by %s, exec by a daemon that has chosen %s: code %d, %v", pair[0], pair[1], code, err)
		}
		must(t, second.Remove(t.Context(), "rex-1"))
		must(t, second.Close())
	}
}
