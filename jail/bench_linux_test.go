package jail

import (
	"os"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// BenchmarkStart is Start alone, BenchmarkBareRuntime the same bundle by the bare runtime: the difference is the driver's own
// cost. The other two count the removal too.
func BenchmarkStart(b *testing.B) {
	l := newDriver(b, b.TempDir())
	root := newRoot(b, IDMap{})
	s := Spec{ID: "rex-1", Name: "web-1", Root: root, Argv: []string{"sleep", "1000"}, Limits: Limits{MemoryBytes: 64 << 20, CPU: 1, Processes: 50}}
	if _, err := l.Probe(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, err := l.Start(b.Context(), s)
		must(b, err)
		b.StopTimer()
		must(b, l.Remove(b.Context(), s.ID))
		b.StartTimer()
	}
}

func BenchmarkStartAndRemove(b *testing.B) {
	l := newDriver(b, b.TempDir())
	root := newRoot(b, IDMap{})
	s := Spec{ID: "rex-1", Name: "web-1", Root: root, Argv: []string{"sleep", "1000"}, Limits: Limits{MemoryBytes: 64 << 20, CPU: 1, Processes: 50}}
	if _, err := l.Probe(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, err := l.Start(b.Context(), s)
		must(b, err)
		must(b, l.Remove(b.Context(), s.ID))
	}
}

func bareRuntime(b *testing.B, remove bool) {
	l := newDriver(b, b.TempDir())
	root := newRoot(b, IDMap{})
	s := Spec{ID: "rex-1", Name: "web-1", Root: root, Argv: []string{"sleep", "1000"}, Limits: Limits{MemoryBytes: 64 << 20, CPU: 1, Processes: 50}}
	_, err := l.Probe(b.Context())
	must(b, err)
	must(b, l.prepare(s))
	rt := l.rt
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(b, err)
	defer null.Close()
	del := func() {
		_, err := run.Real{}.Run(b.Context(), run.Cmd{Argv: []string{rt.path, "--root", l.runtimeRoot(), "delete", "--force", "rex-1"}, Hide: rt.hide})
		must(b, err)
	}
	for b.Loop() {
		_, err := run.Real{}.Run(b.Context(), run.Cmd{
			Argv:   []string{rt.path, "--root", l.runtimeRoot(), "run", "--detach", "--bundle", l.dir(s.ID), s.ID},
			Stdout: null, Stderr: null, Hide: rt.hide,
		})
		must(b, err)
		if !remove {
			b.StopTimer()
		}
		del()
		if !remove {
			b.StartTimer()
		}
	}
	must(b, l.Remove(b.Context(), s.ID))
}

func BenchmarkBareRuntime(b *testing.B)          { bareRuntime(b, false) }
func BenchmarkBareRuntimeAndDelete(b *testing.B) { bareRuntime(b, true) }

// BenchmarkOwnWork is what the driver itself does for one Start, without the runtime.
func BenchmarkOwnWork(b *testing.B) {
	l := newDriver(b, b.TempDir())
	s := Spec{ID: "rex-1", Name: "web-1", Root: newRoot(b, IDMap{}), Argv: []string{"sleep", "1000"}, Limits: Limits{MemoryBytes: 64 << 20, CPU: 1, Processes: 50}}
	for b.Loop() {
		must(b, l.prepare(s))
		must(b, (&record{Spec: s}).save(l.dir(s.ID)))
		must(b, (&record{Spec: s, PID: 1}).save(l.dir(s.ID)))
		must(b, l.scrub(b.Context(), s.ID))
	}
}
