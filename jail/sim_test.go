package jail

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func simSpec(id string) Spec {
	return Spec{ID: id, Name: id, UUID: "u-" + id, Seq: 1, Root: "/sim/" + id, Argv: []string{"app"}}
}

func TestSimulatedJailRunsUntilStopped(t *testing.T) {
	t.Parallel()
	d := NewSim(SimConfig{})
	a, err := d.Start(t.Context(), simSpec("a"))
	must(t, err)
	if b, err := d.Start(t.Context(), simSpec("a")); err != nil || b.PID != a.PID {
		t.Errorf("started twice: %+v %v", b, err)
	}
	var out bytes.Buffer
	if code, err := d.Exec(t.Context(), "a", Exec{Argv: []string{"id"}, Stderr: &out}); err != nil || code != 126 || !strings.Contains(out.String(), "simulated") {
		t.Errorf("exec: %d %v %q", code, err, out.String())
	}
	for range 2 {
		if st, err := d.Stop(t.Context(), "a", 0); err != nil || st.Phase != Stopped || st.Exit.Signal != "SIGTERM" {
			t.Errorf("stop: %+v %v", st, err)
		}
	}
	if st, err := d.Wait(t.Context(), "a"); err != nil || st.Exit == nil {
		t.Errorf("wait: %+v %v", st, err)
	}
	must(t, d.Remove(t.Context(), "a"))
	must(t, d.Remove(t.Context(), "a"))
	if _, err := d.Wait(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("wait: %v", err)
	}
	want := []string{"start a", "start a", "exec a id", "stop a", "stop a", "remove a", "remove a"}
	if got := d.Calls(); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestScriptedJailFailsThenCrashesThenRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := NewSim(SimConfig{Latency: time.Second, Script: func(_ Spec, before int) SimRun {
			switch before {
			case 0:
				return SimRun{Err: errors.New("no image")}
			case 1:
				return SimRun{After: time.Minute, Exit: &Exit{Known: true, Code: 137, Signal: "SIGKILL", OOM: true}}
			case 2:
				return SimRun{Exit: &Exit{Known: true, Code: 2}}
			}
			return SimRun{}
		}})
		defer d.Close()
		begin := time.Now()
		if _, err := d.Start(t.Context(), simSpec("a")); err == nil || err.Error() != "start jail a: no image" {
			t.Errorf("got %v", err)
		}
		_, err := d.Start(t.Context(), simSpec("a"))
		must(t, err)
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("two starts took %v, want 2s", took)
		}
		st, err := d.Wait(t.Context(), "a")
		must(t, err)
		if took := time.Since(begin); took != 62*time.Second || !st.Exit.OOM || st.Exit.Code != 137 {
			t.Errorf("ended after %v with %+v", took, st.Exit)
		}
		_, err = d.Start(t.Context(), simSpec("a"))
		must(t, err)
		if st, err := d.Wait(t.Context(), "a"); err != nil || st.Exit.Code != 2 {
			t.Errorf("got %+v %v", st, err)
		}
		_, err = d.Start(t.Context(), simSpec("a"))
		must(t, err)
		if ls, err := d.List(t.Context()); err != nil || len(ls) != 1 || ls[0].Phase != Running {
			t.Errorf("got %+v %v", ls, err)
		}
		must(t, d.Crash("a", Exit{Known: true, Code: 1}))
		if err := d.Crash("a", Exit{}); !errors.Is(err, ErrNotRunning) {
			t.Errorf("crashed twice: %v", err)
		}
	})
}
