package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

func newFake(t *testing.T, run func(ctx context.Context, s jail.Spec, say func(string)) int, mod ...func(*Config)) (*Builder, *fakeStore, *fakeJails) {
	t.Helper()
	s, j := newFakeStore(t), &fakeJails{run: run}
	c := Config{Store: s, Jails: j, Dir: filepath.Join(t.TempDir(), "build")}
	for _, m := range mod {
		m(&c)
	}
	t.Cleanup(func() {
		if s.open != 0 || s.holds != 0 || j.live != 0 {
			t.Errorf("left: %d open layers, %d holds, %d jails", s.open, s.holds, j.live)
		}
		if e, _ := os.ReadDir(c.Dir); len(e) != 0 {
			t.Errorf("left in the scratch directory: %v", e)
		}
	})
	return New(c), s, j
}

func TestOnlyChangedStepsAreRunAgain(t *testing.T) {
	t.Parallel()
	b, s, j := newFake(t, nil)
	one := image(t, "web", "debian:bookworm", "RUN a", "ENV X=1", "RUN b", "RUN c")
	res, err := b.Build(t.Context(), one, nil, nil)
	if err != nil || res.StepsRun != 4 || res.StepsCached != 0 {
		t.Fatalf("first: %+v, %v", res, err)
	}
	res, err = b.Build(t.Context(), one, nil, nil)
	if err != nil || res.StepsRun != 0 || res.StepsCached != 4 || res.Bytes == 0 {
		t.Fatalf("again: %+v, %v", res, err)
	}
	two := image(t, "web", "debian:bookworm", "RUN a", "ENV X=1", "RUN b", "RUN d")
	res, err = b.Build(t.Context(), two, nil, nil)
	if err != nil || res.StepsRun != 1 || res.StepsCached != 3 {
		t.Fatalf("last step changed: %+v, %v", res, err)
	}
	if got := strings.Join(j.runs, " "); got != "a b c d" {
		t.Errorf("ran %s, want a b c d", got)
	}
	if !slices.Equal(s.bases, []string{"debian:bookworm"}) {
		t.Errorf("bases made: %v, want one", s.bases)
	}
	if img := s.images[two.Key]; img.Top != two.Steps[3].Key || !slices.Equal(img.Env, []string{"X=1"}) || len(img.Steps) != 4 {
		t.Errorf("image: %+v", img)
	}
}

func TestFailingStepNamesPlaceCodeAndLastOutput(t *testing.T) {
	t.Parallel()
	b, s, _ := newFake(t, func(_ context.Context, s jail.Spec, say func(string)) int {
		if s.Argv[2] != "bad" {
			return 0
		}
		for i := range 25 {
			say(fmt.Sprintf("line %d", i))
		}
		return 3
	})
	img := image(t, "web", "debian:bookworm", "RUN good", "RUN bad")
	var out []string
	_, err := b.Build(t.Context(), img, nil, func(e Event) {
		if e.Kind == Output && e.Step == 2 {
			out = append(out, e.Text)
		}
	})
	step, ok := errors.AsType[*StepError](err)
	if !ok || step.Code != 3 || step.Line != 3 || len(step.Tail) != 20 || step.Tail[19] != "line 24" || step.Tail[0] != "line 5" {
		t.Fatalf("got %+v, %v", step, err)
	}
	if !strings.Contains(err.Error(), "build image web: web.rex:3: RUN bad: exit code 3\n") || !strings.HasSuffix(err.Error(), "| line 24") {
		t.Errorf("text: %v", err)
	}
	if len(out) != 25 {
		t.Errorf("streamed %d lines, want 25", len(out))
	}
	if s.aborted != 1 || !s.HasLayer(img.Steps[0].Key) || s.HasLayer(img.Steps[1].Key) || s.HasImage(img.Key) {
		t.Error("want the good step kept and the bad one aborted")
	}
}

func TestConcurrentBuildsOfOneImageShareTheWork(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	b, _, j := newFake(t, func(context.Context, jail.Spec, func(string)) int {
		close(started) // a second run would panic here
		<-release
		return 0
	})
	img := image(t, "web", "debian:bookworm", "RUN slow")
	var wg sync.WaitGroup
	results := make([]error, 8)
	build := func(i int, progress func(Event)) {
		defer wg.Done()
		_, results[i] = b.Build(t.Context(), img, nil, progress)
	}
	wg.Add(1)
	go build(0, nil)
	<-started
	waiting := make(chan struct{}, len(results))
	for i := range results[1:] {
		wg.Add(1)
		go build(i+1, func(Event) { waiting <- struct{}{} })
	}
	for range results[1:] {
		<-waiting
	}
	close(release)
	wg.Wait()
	if err := errors.Join(results...); err != nil || len(j.runs) != 1 {
		t.Errorf("ran %d times, errors %v", len(j.runs), err)
	}
}

func TestACancelledBuildDoesNotFailThoseWhoWaitForIt(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	var once sync.Once
	b, _, j := newFake(t, func(ctx context.Context, _ jail.Spec, _ func(string)) int {
		first := false
		once.Do(func() { first = true; close(started) })
		if first {
			<-ctx.Done()
		}
		return 0
	})
	img := image(t, "web", "debian:bookworm", "RUN x")
	ctx, cancel := context.WithCancel(t.Context())
	firstErr, secondErr := make(chan error, 1), make(chan error, 1)
	go func() { _, err := b.Build(ctx, img, nil, nil); firstErr <- err }()
	<-started
	waiting := make(chan struct{}, 9)
	go func() {
		_, err := b.Build(t.Context(), img, nil, func(Event) { waiting <- struct{}{} })
		secondErr <- err
	}()
	<-waiting
	cancel()
	if err := <-firstErr; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled build: got %v", err)
	}
	if err := <-secondErr; err != nil || len(j.runs) != 2 {
		t.Errorf("the one who waited: %v after %d runs, want its own run", err, len(j.runs))
	}
}

func TestAStepOfTwoImagesIsRunOnce(t *testing.T) {
	t.Parallel()
	b, _, j := newFake(t, nil)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := b.Build(t.Context(), image(t, fmt.Sprint("i", i), "debian:bookworm", "RUN common", fmt.Sprint("RUN own", i)), nil, nil); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	slices.Sort(j.runs)
	if got := strings.Join(j.runs, " "); got != "common own0 own1 own2 own3 own4 own5" {
		t.Errorf("ran %s", got)
	}
}

func TestAStepThatTakesTooLongIsEnded(t *testing.T) {
	t.Parallel()
	b, s, _ := newFake(t, func(ctx context.Context, _ jail.Spec, say func(string)) int {
		say("working")
		<-ctx.Done()
		return 0
	}, func(c *Config) { c.Timeout = 50 * time.Millisecond })
	_, err := b.Build(t.Context(), image(t, "web", "debian:bookworm", "RUN forever"), nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "web.rex:2: RUN forever: timed out after 50ms") || !strings.Contains(err.Error(), "| working") {
		t.Errorf("got %v", err)
	}
	if s.aborted != 1 {
		t.Error("the layer was not aborted")
	}
}

func TestEnvironmentAndNetworkReachTheStep(t *testing.T) {
	t.Parallel()
	closed := 0
	var got jail.Spec
	var resolv string
	b, s, _ := newFake(t, func(_ context.Context, s jail.Spec, _ func(string)) int {
		got = s
		raw, err := os.ReadFile(s.Mounts[0].Source)
		if err != nil {
			t.Error(err)
		}
		resolv = string(raw)
		return 0
	}, func(c *Config) {
		c.Env = []string{"http_proxy=p"}
		c.Resolve = func(name string) (string, bool) { return "sha256:base", name == "parent" }
		c.Attach = func(context.Context, string) (Network, error) {
			return Network{NetNS: "/run/ns", ResolvConf: "nameserver 192.0.2.1\n", Close: func() error { closed++; return nil }}, nil
		}
	})
	s.layers["sha256:top"] = ""
	s.images["sha256:base"] = zfssync.Image{Key: "sha256:base", Top: "sha256:top", Env: []string{"FROM=base"}}
	img := image(t, "web", "parent", "ENV A=1", "RUN x", "ENV B=2")
	if _, err := b.Build(t.Context(), img, nil, nil); err != nil {
		t.Fatal(err)
	}
	if want := []string{"DEBIAN_FRONTEND=noninteractive", "HOME=/root", "http_proxy=p", "FROM=base", "A=1"}; !slices.Equal(got.Env, want) {
		t.Errorf("environment: got %q, want %q", got.Env, want)
	}
	if got.NetNS != "/run/ns" || closed != 1 || resolv != "nameserver 192.0.2.1\n" || got.Mounts[0].Target != "/etc/resolv.conf" {
		t.Errorf("network: %+v, closed %d times, resolv.conf %q", got, closed, resolv)
	}
	if e := s.images[img.Key].Env; !slices.Equal(e, []string{"FROM=base", "A=1", "B=2"}) {
		t.Errorf("environment of the image: %q", e)
	}
	if e, err := os.ReadDir(got.Root); err != nil || len(e) != 0 {
		t.Errorf("committed: %v, %v, want no trace of what was mounted", e, err)
	}
}

func TestMissingBaseIsNotFound(t *testing.T) {
	t.Parallel()
	b, _, _ := newFake(t, nil, func(c *Config) { c.Resolve = func(n string) (string, bool) { return "sha256:x", n == "unbuilt" } })
	for _, base := range []string{"missing", "unbuilt"} {
		if _, err := b.Build(t.Context(), image(t, "web", base, "RUN x"), nil, nil); !errors.Is(err, zfssync.ErrNotFound) || !strings.Contains(err.Error(), "web") {
			t.Errorf("%s: got %v", base, err)
		}
	}
}

func TestCopyTakesOnlyTheContentThatTheKeyIsAbout(t *testing.T) {
	t.Parallel()
	b, _, _ := newFake(t, nil, func(c *Config) { c.IDMap = zfssync.IDMap{HostBase: uint32(os.Getuid()), Size: 1} })
	dir := t.TempDir()
	pack := func(content string) ([]byte, string) {
		if err := os.WriteFile(filepath.Join(dir, "f"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		var buf bytes.Buffer
		digest, err := zfssync.PackContext(root, []string{"f"}, &buf)
		if err != nil {
			t.Fatal(err)
		}
		return buf.Bytes(), digest
	}
	forged, _ := pack("evil")
	good, digest := pack("good")
	img := seal(t, spec.Image{Name: "web", Base: "b", Steps: []spec.Step{
		{Kind: spec.StepCopy, Src: []string{"f"}, Dst: "/f", Digest: digest, Line: 2, Text: "COPY f /f"},
		{Kind: spec.StepCopy, Src: []string{"f"}, Dst: "/g", Digest: digest, Line: 3, Text: "COPY f /g"},
	}})
	for name, packed := range map[string][]byte{"forged": forged, "garbage": []byte("garbage"), "empty": nil} {
		if _, err := b.Build(t.Context(), img, bytes.NewReader(packed), nil); err == nil || !strings.Contains(err.Error(), "COPY f /f") {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	if _, err := b.Build(t.Context(), img, nil, nil); err == nil || !strings.Contains(err.Error(), "none was sent") {
		t.Errorf("no context: got %v", err)
	}
	if res, err := b.Build(t.Context(), img, bytes.NewReader(good), nil); err != nil || res.StepsRun != 2 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestOutputIsCutIntoLines(t *testing.T) {
	t.Parallel()
	var got []string
	l := &lineReader{emit: func(s string) { got = append(got, s) }}
	ended := make(chan struct{})
	close(ended)
	in := "one\r\n10%\r50%\r100%\nbad\xff\n" + strings.Repeat("x", maxLine+1) + "\nlast"
	if err := l.follow(strings.NewReader(in), ended); err != nil {
		t.Fatal(err)
	}
	want := []string{"one", "100%", "bad?", strings.Repeat("x", maxLine), "x", "last"}
	if !slices.Equal(got, want) {
		t.Errorf("got %.60q", got)
	}
}

func TestSweepEmptiesTheScratchDirectory(t *testing.T) {
	t.Parallel()
	b, _, _ := newFake(t, nil)
	for range 2 {
		if err := b.Sweep(); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(b.c.Dir, "rex-build-x/log"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Sweep(); err != nil {
		t.Fatal(err)
	}
}
