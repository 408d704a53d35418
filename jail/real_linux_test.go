package jail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// newRoot makes a root file system of busybox alone.
func newRoot(t testing.TB, ids IDMap) string {
	t.Helper()
	testenv.RequireRoot(t)
	busybox := testenv.RequireTool(t, "busybox")
	root := filepath.Join(t.TempDir(), "root")
	for _, d := range []string{"bin", "proc", "dev", "sys", "tmp", "etc", "root", "home/web"} {
		must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	// By cp: a descriptor open for writing could be inherited by a child that another test starts just now, and the
	// kernel then refuses to run the program.
	must(t, exec.Command("cp", busybox, filepath.Join(root, "bin/busybox")).Run())
	for _, a := range []string{
		"sh", "sleep", "cat", "ls", "mount", "id", "echo", "touch", "chown", "dd", "tty", "stty", "env", "pwd", "kill", "hostname", "grep",
		"tail", "mkdir", "mknod", "ping", "unshare", "true", "false", "ip", "wc", "chroot", "ulimit", "ps", "head", "insmod", "sysctl", "swapoff",
	} {
		must(t, os.Symlink("/bin/busybox", filepath.Join(root, "bin", a))) // absolute, as Debian's alternatives
	}
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n"), 0o644)) //nolint:gosec // as on any system
	must(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\nweb:x:1000:\nlog:x:1001:web\n"), 0o644))                             //nolint:gosec // as above
	if ids.Size > 0 {
		must(t, filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(p, int(ids.HostBase), int(ids.HostBase))
		}))
	}
	must(t, os.Chmod(filepath.Dir(root), 0o755)) //nolint:gosec // a mapped root must reach it
	must(t, os.Chmod(filepath.Dir(filepath.Dir(root)), 0o755))
	return root
}

func newDriver(t testing.TB, state string) *Linux {
	t.Helper()
	testenv.RequireRoot(t)
	if _, err := run.LookPath("crun"); err != nil {
		testenv.RequireTool(t, "runc")
	}
	must(t, os.Chmod(filepath.Dir(state), 0o755)) //nolint:gosec // a mapped root must get through
	l, err := NewLinux(LinuxConfig{StateDir: state, Instance: instanceOf(state), Runtime: os.Getenv("REXTEST_RUNTIME")})
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// instanceOf is short, and different for every test.
func instanceOf(state string) string {
	h := uint32(2166136261)
	for _, c := range []byte(state) {
		h = (h ^ uint32(c)) * 16777619
	}
	return fmt.Sprintf("test-%08x", h)
}

type fixture struct {
	*Linux

	t    *testing.T
	spec Spec
	log  string
}

// newJail returns a driver and the Spec of a jail that sleeps; the test changes it, and starts it.
func newJail(t *testing.T, ids IDMap) *fixture {
	t.Helper()
	root := newRoot(t, ids)
	l := newDriver(t, t.TempDir())
	f := &fixture{Linux: l, t: t, log: filepath.Join(t.TempDir(), "log")}
	f.spec = Spec{ID: "rex-1", Name: "web-1", UUID: "u-1", Seq: 7, Root: root, Argv: []string{"sleep", "1000"}, LogPath: f.log, IDMap: ids}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := l.Remove(ctx, f.spec.ID); err != nil {
			t.Errorf("remove: %v", err)
		}
		for _, m := range l.cg.mounts {
			if exists(filepath.Join(m, l.cg.path(f.spec.ID))) {
				t.Errorf("control group left in %s", m)
			}
		}
		if left, _ := os.ReadDir(l.runtimeRoot()); len(left) > 0 {
			t.Errorf("runtime state left: %v", left)
		}
	})
	return f
}

func (f *fixture) ctx() context.Context {
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *fixture) start(argv ...string) Status {
	f.t.Helper()
	if len(argv) > 0 {
		f.spec.Argv = argv
	}
	st, err := f.Start(f.ctx(), f.spec)
	must(f.t, err)
	return st
}

// sh runs a shell line in the jail.
func (f *fixture) sh(line string) (int, string) {
	f.t.Helper()
	var out bytes.Buffer
	code, err := f.Exec(f.ctx(), f.spec.ID, Exec{Argv: []string{"sh", "-c", line}, Stdout: &out, Stderr: &out})
	must(f.t, err)
	return code, out.String()
}

// ended starts argv and waits for its end.
func (f *fixture) ended(argv ...string) Status {
	f.t.Helper()
	f.start(argv...)
	st, err := f.Wait(f.ctx(), f.spec.ID)
	must(f.t, err)
	return st
}

func (f *fixture) logged() string {
	raw, err := os.ReadFile(f.log)
	must(f.t, err)
	return string(raw)
}

func TestProbeFindsAWorkingRuntime(t *testing.T) {
	t.Parallel()
	l := newDriver(t, t.TempDir())
	f, err := l.Probe(t.Context())
	must(t, err)
	t.Logf("%+v", f)
	if f.Runtime == "" || !f.Seccomp || f.CGroup == "" || len(f.Limits) == 0 {
		t.Errorf("got %+v", f)
	}
	left, err := os.ReadDir(l.cfg.StateDir)
	must(t, err)
	for _, e := range left {
		if e.Name() != ".runtime" {
			t.Errorf("probe left %s", e.Name())
		}
	}
}

func TestMissingRuntimeIsNamedWithItsRemedy(t *testing.T) {
	testenv.RequireRoot(t)
	t.Setenv("PATH", t.TempDir())
	l, err := NewLinux(LinuxConfig{StateDir: t.TempDir(), Instance: "none"})
	must(t, err)
	defer l.Close()
	if _, err := l.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "apt-get install runc crun") {
		t.Errorf("got %v", err)
	}
}

func TestStartRunsTheCommandAndLogsItsOutput(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	f.spec.Env = []string{"A=1", "A=2"}
	f.spec.User, f.spec.WorkDir = "web", "/tmp"
	st := f.ended("sh", "-c", "echo $A $HOME $(pwd) $(id -u):$(id -g):$(id -G) $(hostname) pid $$; grep CapEff /proc/self/status; echo bad >&2; exit 3")
	if st.Phase != Stopped || st.Exit == nil || !st.Exit.Known || st.Exit.Code != 3 || st.Exit.OOM || st.Exit.Signal != "" {
		t.Errorf("got %+v %+v, want exit 3", st, st.Exit)
	}
	if st.Name != "web-1" || st.UUID != "u-1" || st.Seq != 7 {
		t.Errorf("identity lost: %+v", st)
	}
	if got, want := f.logged(), "2 /home/web /tmp 1000:1000:1000 1001 web-1 pid 1\nCapEff:\t0000000000000000\nbad\n"; got != want {
		t.Errorf("got log %q, want %q", got, want)
	}
}

func TestStartTwiceStopTwiceRemoveTwiceIsHarmless(t *testing.T) {
	t.Parallel()
	onEveryDriver(t, func(t *testing.T, f *rig) {
		a := f.start("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
		b := f.start()
		if a.PID != b.PID || a.PID == 0 {
			t.Errorf("second start made another: %+v, %+v", a, b)
		}
		eventually(t, func() bool { return f.logged() == "up\n" })
		for range 2 {
			st, err := f.Stop(f.ctx(), f.spec.ID, 20*time.Second)
			must(t, err)
			if st.Phase != Stopped || !st.Exit.Known || st.Exit.Code != 0 {
				t.Errorf("got %+v %+v", st, st.Exit)
			}
		}
		if c := f.start(); c.PID == a.PID || c.Phase != Running {
			t.Errorf("start after the end: %+v", c)
		}
		for range 2 {
			must(t, f.Remove(f.ctx(), f.spec.ID))
		}
		if st, err := f.Stop(f.ctx(), f.spec.ID, 0); err != nil || st.Phase != Stopped {
			t.Errorf("stop of what is not there: %+v, %v", st, err)
		}
		if _, err := f.Wait(f.ctx(), f.spec.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("wait of what is not there: %v", err)
		}
		if ls, err := f.List(f.ctx()); err != nil || len(ls) != 0 {
			t.Errorf("list: %v, %v", ls, err)
		}
	})
}

func TestStopKillsWhatIgnoresTERM(t *testing.T) {
	t.Parallel()
	onEveryDriver(t, func(t *testing.T, f *rig) {
		f.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
		eventually(t, func() bool { return f.logged() == "up\n" })
		st, err := f.Stop(f.ctx(), f.spec.ID, 200*time.Millisecond)
		must(t, err)
		if st.Exit == nil || st.Exit.Signal != "SIGKILL" || st.Exit.Code != 137 || st.Exit.OOM {
			t.Errorf("got %+v", st.Exit)
		}
	})
}

func TestWhatCannotStartIsNamedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	good := f.spec
	for _, c := range []struct {
		name  string
		spoil func(*Spec)
		want  string
		final bool
	}{
		{"command not found", func(s *Spec) { s.Argv = []string{"postgress"} }, "postgress: command not found", true},
		{"absolute command", func(s *Spec) { s.Argv = []string{"/opt/x"} }, "/opt/x: command not found", true},
		{"not executable", func(s *Spec) { s.Argv = []string{"/etc/passwd"} }, "/etc/passwd: not executable", true},
		{"user", func(s *Spec) { s.User = "nobody-here" }, `no user "nobody-here"`, true},
		{"group", func(s *Spec) { s.User = "web:nogroup" }, `no group "nogroup"`, true},
		{"root", func(s *Spec) { s.Root += "-gone" }, "is not there", false},
		{"network namespace", func(s *Spec) { s.NetNS = "/run/netns/none-such" }, "network namespace", false},
		{"capability", func(s *Spec) { s.AddCaps = []string{"SYS_ADMIN"} }, "CAP_SYS_ADMIN is not given", true},
		{"mount source", func(s *Spec) { s.Mounts = []Mount{{Source: "/none-such", Target: "/x"}} }, "none-such", false},
		{"mount target", func(s *Spec) { s.Mounts = []Mount{{Source: "/tmp", Target: "/../x"}} }, "without ..", true},
		{"id", func(s *Spec) { s.ID = "../x" }, "does not match", true},
		{"cpuset", func(s *Spec) { s.Limits.CPUSet = "0;rm" }, "cpuset", true},
	} {
		s := good
		c.spoil(&s)
		_, err := f.Start(f.ctx(), s)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "start jail web-1") {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
		if errors.Is(err, ErrFinal) != c.final {
			t.Errorf("%s: final is %v, want %v: %v", c.name, !c.final, c.final, err)
		}
		if ls, lerr := f.List(f.ctx()); lerr != nil || len(ls) != 0 {
			t.Errorf("%s: left %v, %v", c.name, ls, lerr)
		}
	}
}

func TestRunUsesTheNamedNetworkNamespaceAndMounts(t *testing.T) {
	t.Parallel()
	f := newJail(t, IDMap{})
	testenv.RequireTool(t, "unshare")
	ns := filepath.Join(t.TempDir(), "ns")
	must(t, os.WriteFile(ns, nil, 0o600))
	_, err := run.Real{}.Run(t.Context(), run.Cmd{Argv: []string{"unshare", "--net=" + ns, "ip", "link", "add", "rexmark0", "type", "veth", "peer", "name", "rexmark1"}})
	must(t, err)
	t.Cleanup(func() { _, _ = run.Real{}.Run(context.Background(), run.Cmd{Argv: []string{"umount", ns}}) })
	vol := t.TempDir()
	must(t, os.WriteFile(filepath.Join(vol, "v"), []byte("volume\n"), 0o600))
	f.spec.NetNS = ns
	f.spec.Mounts = []Mount{{Source: vol, Target: "/data"}, {Source: vol, Target: "/ro/deep", ReadOnly: true}}
	f.start()
	if code, out := f.sh("ip link | grep -c rexmark0@ && cat /data/v && touch /data/w && ! touch /ro/deep/x 2>/dev/null"); code != 0 || out != "1\nvolume\n" {
		t.Errorf("got %d %q", code, out)
	}
	if !exists(filepath.Join(vol, "w")) {
		t.Error("the volume was not written")
	}
}
