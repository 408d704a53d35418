package jail

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
)

// rig is a driver with a jail to start, whichever driver it is.
type rig struct {
	Driver

	t    *testing.T
	spec Spec
	log  string
}

// onEveryDriver runs one test for each driver that starts processes: the OCI runtime, and jail(8) on the model of a FreeBSD
// host, whose jails are real processes in a chroot.
func onEveryDriver(t *testing.T, do func(t *testing.T, f *rig)) {
	t.Helper()
	t.Run("oci", func(t *testing.T) {
		t.Parallel()
		f := newJail(t, IDMap{})
		do(t, &rig{Driver: f.Linux, t: t, spec: f.spec, log: f.log})
	})
	t.Run("jail", func(t *testing.T) {
		t.Parallel()
		do(t, newJailRig(t))
	})
}

func newJailRig(t *testing.T) *rig {
	t.Helper()
	root := newRoot(t, IDMap{})
	h := freebsdtest.New()
	h.RunForReal()
	dir := t.TempDir()
	d, err := newFreeBSD(FreeBSDConfig{StateDir: filepath.Join(dir, "state"), ConfDir: filepath.Join(dir, "conf"), Runner: h}, modelKernel{h})
	must(t, err)
	f := &rig{Driver: d, t: t, log: filepath.Join(t.TempDir(), "log")}
	f.spec = Spec{ID: "rex-1", Name: "web-1", UUID: "u-1", Seq: 7, Root: root, Argv: []string{"sleep", "1000"}, LogPath: f.log}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := d.Remove(ctx, f.spec.ID); err != nil {
			t.Errorf("remove: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		for _, sub := range []string{"state", "conf"} {
			if left, _ := os.ReadDir(filepath.Join(dir, sub)); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		}
	})
	return f
}

func (f *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *rig) start(argv ...string) Status {
	f.t.Helper()
	if len(argv) > 0 {
		f.spec.Argv = argv
	}
	st, err := f.Start(f.ctx(), f.spec)
	must(f.t, err)
	return st
}

// ended starts argv and waits for its end.
func (f *rig) ended(argv ...string) Status {
	f.t.Helper()
	f.start(argv...)
	st, err := f.Wait(f.ctx(), f.spec.ID)
	must(f.t, err)
	return st
}

// sh runs a shell line in the jail.
func (f *rig) sh(line string) (int, string) {
	f.t.Helper()
	var out bytes.Buffer
	code, err := f.Exec(f.ctx(), f.spec.ID, Exec{Argv: []string{"sh", "-c", line}, Stdout: &out, Stderr: &out})
	must(f.t, err)
	return code, out.String()
}

func (f *rig) logged() string {
	raw, err := os.ReadFile(f.log)
	must(f.t, err)
	return string(raw)
}

func TestFirstProcessHasItsEnvironmentUserDirectoryAndLog(t *testing.T) {
	t.Parallel()
	onEveryDriver(t, func(t *testing.T, f *rig) {
		f.spec.Env = []string{"A=1", "A=2"}
		f.spec.User, f.spec.WorkDir = "web", "/tmp"
		st := f.ended("sh", "-c", "echo $A $HOME $(pwd) $(id -u):$(id -g):$(id -G) ${LC_ALL-none}; echo bad >&2; exit 3")
		if st.Phase != Stopped || st.Exit == nil || !st.Exit.Known || st.Exit.Code != 3 || st.Exit.OOM || st.Exit.Signal != "" {
			t.Errorf("got %+v %+v, want exit 3", st, st.Exit)
		}
		if st.Name != "web-1" || st.UUID != "u-1" || st.Seq != 7 {
			t.Errorf("identity lost: %+v", st)
		}
		if got, want := f.logged(), "2 /home/web /tmp 1000:1000:1000 1001 none\nbad\n"; got != want {
			t.Errorf("got log %q, want %q", got, want)
		}
	})
}

func TestUserByNumberNeedsNoEntryInTheJail(t *testing.T) {
	t.Parallel()
	onEveryDriver(t, func(t *testing.T, f *rig) {
		f.spec.User = "4321:8765"
		if st := f.ended("sh", "-c", "echo $(id -u):$(id -g):$(id -G)"); st.Exit == nil || st.Exit.Code != 0 {
			t.Errorf("got %+v", st.Exit)
		}
		if got := f.logged(); got != "4321:8765:8765\n" {
			t.Errorf("got %q", got)
		}
	})
}

func TestListUpdateAndStatsSeeWhatRuns(t *testing.T) {
	t.Parallel()
	onEveryDriver(t, func(t *testing.T, f *rig) {
		a := f.start()
		list, err := f.List(f.ctx())
		must(t, err)
		if len(list) != 1 || list[0].PID != a.PID || list[0].Phase != Running {
			t.Errorf("got %+v", list)
		}
		must(t, f.Update(f.ctx(), f.spec.ID, Limits{Processes: 50}))
		if s, err := f.Stats(f.ctx(), f.spec.ID); err != nil || s.PIDs < 1 {
			t.Errorf("got %+v, %v", s, err)
		}
	})
}
