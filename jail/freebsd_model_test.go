package jail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
	"github.com/rexcarcer/rexcarcer/internal/run"
)

// modelKernel makes a modelled host the driver's kernel.
type modelKernel struct{ *freebsdtest.Host }

func (k modelKernel) start(c run.Cmd) (int, func() int, error) {
	p, err := k.Start(c)
	if err != nil {
		return 0, nil, err
	}
	return p.PID, p.Wait, nil
}

func (k modelKernel) processes() ([]jailProcess, error) {
	var out []jailProcess
	for _, p := range k.Procs() {
		q := jailProcess{pid: p.PID, jid: p.JID, rss: 1 << 20, cpu: time.Second}
		if !p.Start.IsZero() {
			q.started = uint64(p.Start.UnixMicro())
		}
		out = append(out, q)
	}
	return out, nil
}

func (k modelKernel) watch(pid int) (func(context.Context) (int, bool, error), error) {
	return k.WatchPID(pid), nil
}

// machine is a modelled host with directories for a driver.
type machine struct {
	*freebsdtest.Host

	t   interface{ Fatalf(string, ...any) }
	dir string
	d   *FreeBSD // the daemon that runs now
}

func newMachine(t testing.TB) *machine {
	m := &machine{Host: freebsdtest.New(), t: t, dir: t.TempDir()}
	m.boot()
	t.Cleanup(func() { _ = m.d.Close() })
	return m
}

// boot replaces the daemon by a new one, as after kill -9.
func (m *machine) boot() {
	if m.d != nil {
		_ = m.d.Close()
	}
	d, err := newFreeBSD(FreeBSDConfig{StateDir: filepath.Join(m.dir, "state"), ConfDir: filepath.Join(m.dir, "conf"), Runner: m.Host, Poll: 5 * time.Millisecond},
		modelKernel{m.Host})
	if err != nil {
		m.t.Fatalf("new driver: %v", err)
	}
	m.d = d
}

// spec is a jail with a root, a mount and limits.
func (m *machine) spec(name string, argv ...string) Spec {
	root := filepath.Join(m.dir, "roots", name)
	for _, dir := range []string{"bin", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			m.t.Fatalf("%v", err)
		}
	}
	for _, f := range []string{"bin/sleep", "bin/exit", "bin/stubborn", "bin/sh", "etc/rc"} {
		if err := os.WriteFile(filepath.Join(root, f), nil, 0o755); err != nil { //nolint:gosec // a program
			m.t.Fatalf("%v", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(m.dir, "data"), 0o755); err != nil {
		m.t.Fatalf("%v", err)
	}
	if len(argv) == 0 {
		argv = []string{"sleep", "1000"}
	}
	return Spec{
		ID: "rex-" + name, Name: name, UUID: "uuid-" + name, Seq: 3, Root: root, Argv: argv, StopTimeout: time.Second,
		LogPath: filepath.Join(m.dir, name+".log"), Mounts: []Mount{{Source: filepath.Join(m.dir, "data"), Target: "/var/data"}},
		Limits: Limits{MemoryBytes: 64 << 20, CPU: 1.5, Processes: 30, CPUSet: "0"},
	}
}

// clean is the State without what may stay: the rulesets.
func (m *machine) clean() string {
	state := m.State()
	if i := strings.Index(state, "[devfs]"); i >= 0 {
		rest := state[i+len("[devfs]"):]
		state = state[:i]
		if j := strings.Index(rest, "\n["); j >= 0 {
			state += rest[j+1:]
		}
	}
	return state
}

func (m *machine) leftFiles() (out []string) {
	for _, d := range []string{"state", "conf"} {
		entries, _ := os.ReadDir(filepath.Join(m.dir, d))
		for _, e := range entries {
			out = append(out, d+"/"+e.Name())
		}
	}
	return out
}

func TestFreeBSDCrashAtAnyCommandThenRetryConverges(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	startDo := func(d *FreeBSD, s Spec) error { _, err := d.Start(ctx, s); return err }
	stopDo := func(d *FreeBSD, s Spec) error { _, err := d.Stop(ctx, s.ID, 0); return err }
	removeDo := func(d *FreeBSD, s Spec) error { return d.Remove(ctx, s.ID) }
	points := 0
	for _, a := range []struct {
		name       string
		first, act func(*FreeBSD, Spec) error
	}{{"start", nil, startDo}, {"stop", startDo, stopDo}, {"remove", startDo, removeDo}, {"start over", stopped(ctx), startDo}} {
		for _, argv := range [][]string{{"sleep", "1"}, {"/bin/sh", "/etc/rc"}} {
			reference, _ := crashRun(t, a.first, a.act, argv, 0, false)
			for _, after := range []bool{false, true} {
				for n := 1; ; n++ {
					state, came := crashRun(t, a.first, a.act, argv, n, after)
					if !came {
						break
					}
					points++
					if state != reference {
						t.Errorf("%s of %v, killed at command %d (after it: %v):\n%s\nwant\n%s", a.name, argv, n, after, state, reference)
					}
				}
			}
		}
	}
	t.Logf("%d crash points", points)
	if points < 150 {
		t.Errorf("only %d crash points were reached", points)
	}
}

func TestFreeBSDCommandThatFailsIsNamedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		m := newMachine(t)
		s := m.spec("web-1")
		s.NetNS = "rexn-i-99aabbcc"
		file := filepath.Join(m.dir, "one-file")
		must(t, os.WriteFile(file, nil, 0o600))
		s.Mounts = append(s.Mounts, Mount{Source: file, Target: "/etc/one-file", ReadOnly: true})
		_, err := m.Run(t.Context(), runOf("/usr/sbin/jail", "-c", "name=rexn-i-99aabbcc", "path=/", "vnet", "persist", "children.max=64"))
		must(t, err)
		before := m.clean()
		m.FailAt(n)
		_, err = m.d.Start(t.Context(), s)
		failed := m.Failed()
		if failed == "" { // there are no more
			must(t, err)
			if n < 20 {
				t.Errorf("only %d commands: %q", n, m.Calls())
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), "start jail web-1") {
			t.Errorf("command %d, %s, failed: got %v", n, failed, err)
		}
		if left := m.clean(); left != before {
			t.Errorf("command %d, %s, failed, and there is left %s", n, failed, left)
		}
		m.ResetCalls()
		_, err = m.d.Start(t.Context(), s)
		must(t, err)
		m.FailAt(1 + n%7) // and on the way down
		err = m.d.Remove(t.Context(), s.ID)
		if m.Failed() != "" && err == nil && m.clean() != before {
			t.Errorf("%s failed, nobody said so, and there is left %s", m.Failed(), m.clean())
		}
		must(t, m.d.Remove(t.Context(), s.ID))
		if left := m.clean(); left != before {
			t.Errorf("left %s", left)
		}
		_ = m.d.Close()
	}
}

func stopped(ctx context.Context) func(*FreeBSD, Spec) error {
	return func(d *FreeBSD, s Spec) error {
		_, err := d.Start(ctx, s)
		if err == nil {
			_, err = d.Stop(ctx, s.ID, 0)
		}
		return err
	}
}

// crashRun does first, then act with a crash at its n-th command, then act again by a new daemon. It returns what the host
// and the daemon say then, and takes all down, which must leave nothing.
func crashRun(t *testing.T, first, act func(*FreeBSD, Spec) error, argv []string, n int, after bool) (state string, came bool) {
	t.Helper()
	m := newMachine(t)
	s := m.spec("web-1", argv...)
	if first != nil {
		must(t, first(m.d, s))
	}
	if n > 0 {
		m.CrashAt(n, after)
		err := act(m.d, s)
		came = m.Revive()
		if came && err == nil && n == 1 && !after {
			t.Errorf("crash at the first command was not noticed")
		}
		m.boot()
		if _, err := m.d.List(t.Context()); err != nil {
			t.Fatalf("list after the crash: %v", err)
		}
	}
	must(t, act(m.d, s))
	list, err := m.d.List(t.Context())
	must(t, err)
	for _, st := range list {
		state += fmt.Sprintln(st.ID, st.Phase)
	}
	state += strings.ReplaceAll(m.State(), m.dir, "$D")
	must(t, m.d.Remove(t.Context(), s.ID))
	if left := m.clean(); left != "" {
		t.Errorf("removed, and still there: %s", left)
	}
	if left := m.leftFiles(); len(left) > 0 {
		t.Errorf("removed, and still there: %v", left)
	}
	_ = m.d.Close()
	return state, came
}

func TestFreeBSDAnyOrderOfCallsAndCrashesConverges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "m") //nolint:usetesting // one for each run, and t is of them all
		must(t, err)
		m := &machine{Host: freebsdtest.New(), t: rt, dir: dir}
		m.boot()
		defer func() { _ = m.d.Close() }()
		m.DyingFor = rapid.IntRange(0, 4).Draw(rt, "dying")
		m.Racct = rapid.Bool().Draw(rt, "racct")
		names := []string{"a", "b", "c"}
		running := map[string]bool{}
		ctx := t.Context()
		for range rapid.IntRange(1, 12).Draw(rt, "calls") {
			name := rapid.SampledFrom(names).Draw(rt, "jail")
			s := m.spec(name)
			crash := rapid.IntRange(0, 12).Draw(rt, "crash")
			if crash > 0 && crash < 8 {
				m.CrashAt(crash, rapid.Bool().Draw(rt, "after"))
			}
			op := rapid.SampledFrom([]string{"start", "stop", "remove", "update", "end", "boot"}).Draw(rt, "op")
			err := m.op(ctx, op, s)
			if m.Revive() {
				m.boot()
				err = m.op(ctx, op, s) // the retry must do
			}
			if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNotRunning) {
				rt.Fatalf("%s %s: %v", op, name, err)
			}
			switch op {
			case "start":
				running[name] = true
			case "stop", "remove", "end":
				running[name] = false
			}
			m.check(rt, names, running)
		}
		for _, n := range names {
			if err := m.d.Remove(ctx, "rex-"+n); err != nil {
				rt.Fatalf("remove %s: %v", n, err)
			}
		}
		for range 10 { // the dying ones
			_, _ = m.d.kernelJails(ctx)
		}
		if left := m.clean(); left != "" || len(m.leftFiles()) > 0 {
			rt.Fatalf("left: %s %v", left, m.leftFiles())
		}
	})
}

func (m *machine) op(ctx context.Context, op string, s Spec) (err error) {
	switch op {
	case "start":
		_, err = m.d.Start(ctx, s)
	case "stop":
		_, err = m.d.Stop(ctx, s.ID, 0)
	case "remove":
		err = m.d.Remove(ctx, s.ID)
	case "update":
		err = m.d.Update(ctx, s.ID, Limits{Processes: 5})
	case "boot":
		m.boot()
	case "end":
		list, lerr := m.d.List(ctx)
		for _, st := range list {
			if st.ID == s.ID && st.PID != 0 {
				m.EndProc(st.PID, 4)
				_, err = m.d.Wait(ctx, s.ID)
			}
		}
		err = errors.Join(err, lerr)
	}
	return err
}

// check compares what runs on the host with what should.
func (m *machine) check(rt *rapid.T, names []string, running map[string]bool) {
	list, err := m.d.List(context.Background())
	if err != nil {
		rt.Fatalf("list: %v", err)
	}
	phases := map[string]Phase{}
	for _, st := range list {
		phases[strings.TrimPrefix(st.ID, "rex-")] = st.Phase
	}
	for _, n := range names {
		procs := 0
		if j := m.JailByName(n); j != nil {
			for _, p := range m.Procs() {
				if p.JID == j.JID {
					procs++
				}
			}
		}
		if running[n] != (phases[n] == Running) || running[n] != (procs == 1) {
			rt.Fatalf("jail %s: should run: %v, is %q with %d processes\n%s", n, running[n], phases[n], procs, m.State())
		}
	}
}
