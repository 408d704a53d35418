package jail

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestExpectStopsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cgroup.procs")
		l := &Linux{warm: warmer{file: file}, ctx: t.Context()}
		begun := time.Now()
		l.Expect()
		<-time.After(warmFor / 2)
		l.Expect() // another start: the same loop goes on for it
		l.wg.Wait()
		if took := time.Since(begun); took < warmFor*3/2 || took > 2*warmFor {
			t.Errorf("the lock was kept ready for %s, want %s after the last call", took, warmFor)
		}
		if raw, err := os.ReadFile(file); err != nil || len(raw) == 0 {
			t.Errorf("our own pid was not written: %q, %v", raw, err)
		}
	})
}

func TestExpectGivesUpWhereGroupsMayNotBeWritten(t *testing.T) {
	t.Parallel()
	l := &Linux{warm: warmer{file: filepath.Join(t.TempDir(), "missing", "cgroup.procs")}, ctx: t.Context()}
	l.Expect()
	l.wg.Wait()
	if l.Expect(); l.warm.running {
		t.Error("it is tried again and again")
	}
}

func TestOwnProcsIsOurOwnGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"pids/a", "b"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name, "cgroup.procs"), nil, 0o600))
	}
	for _, c := range []struct{ layout, mount, self, want string }{
		{"v1", "pids", "7:memory:/x\n5:pids:/a\n0::/b\n", "pids/a/cgroup.procs"},
		{"v2", "", "0::/b\n", "b/cgroup.procs"},
		{"hybrid", "pids", "0::/b\n", ""},
		{"v2", "", "0::/gone\n", ""},
		{"v2", "", "nonsense", ""},
	} {
		g := &cgroups{layout: c.layout, at: map[string]string{"pids": filepath.Join(dir, c.mount)}}
		want := c.want
		if want != "" {
			want = filepath.Join(dir, want)
		}
		if got := g.ownProcs(c.self); got != want {
			t.Errorf("%s %q: %q, want %q", c.layout, c.self, got, want)
		}
	}
}
