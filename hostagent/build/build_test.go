package build

import (
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
	res, err := b.Build(t.Context(), Request{Image: one}, nil)
	if err != nil || res.StepsRun != 4 || res.StepsCached != 0 {
		t.Fatalf("first: %+v, %v", res, err)
	}
	res, err = b.Build(t.Context(), Request{Image: one}, nil)
	if err != nil || res.StepsRun != 0 || res.StepsCached != 4 || res.Bytes == 0 {
		t.Fatalf("again: %+v, %v", res, err)
	}
	two := image(t, "web", "debian:bookworm", "RUN a", "ENV X=1", "RUN b", "RUN d")
	res, err = b.Build(t.Context(), Request{Image: two}, nil)
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
	_, err := b.Build(t.Context(), Request{Image: img}, func(e Event) {
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
		_, results[i] = b.Build(t.Context(), Request{Image: img}, progress)
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
	go func() { _, err := b.Build(ctx, Request{Image: img}, nil); firstErr <- err }()
	<-started
	waiting := make(chan struct{}, 9)
	go func() {
		_, err := b.Build(t.Context(), Request{Image: img}, func(Event) { waiting <- struct{}{} })
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
			if _, err := b.Build(t.Context(), Request{Image: image(t, fmt.Sprint("i", i), "debian:bookworm", "RUN common", fmt.Sprint("RUN own", i))}, nil); err != nil {
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
	_, err := b.Build(t.Context(), Request{Image: image(t, "web", "debian:bookworm", "RUN forever")}, nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "web.rex:2: RUN forever: timed out after 50ms") || !strings.Contains(err.Error(), "| working") {
		t.Errorf("got %v", err)
	}
	if s.aborted != 1 {
		t.Error("the layer was not aborted")
	}
}

func TestTwoFilesWithACommonPrefixRunEachCommonStepOnce(t *testing.T) {
	t.Parallel()
	common := []string{"RUN one", "ENV A=1", "RUN two", "RUN three", "RUN four"}
	images := []spec.Image{
		image(t, "a", "debian:bookworm", append(slices.Clone(common), "RUN left")...),
		image(t, "b", "debian:bookworm", append(slices.Clone(common), "RUN right")...),
	}
	// The first step goes on when the other build waits for it.
	waiting := make(chan struct{})
	b, _, j := newFake(t, func(_ context.Context, s jail.Spec, _ func(string)) int {
		if s.Argv[2] == "one" {
			<-waiting
		}
		return 0
	})
	go func() {
		defer close(waiting)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(20 * time.Second); b.steps.users(images[0].Steps[0].Key) < 2; {
			select {
			case <-tick.C:
			case <-deadline:
				return // what was run says the rest
			}
		}
	}()
	var wg sync.WaitGroup
	results := make([]Result, len(images))
	for i, img := range images {
		wg.Go(func() {
			var err error
			if results[i], err = b.Build(t.Context(), Request{Image: img}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(j.runs)
	if got := strings.Join(j.runs, " "); got != "four left one right three two" {
		t.Errorf("ran %s", got)
	}
	if n := results[0].StepsCached + results[1].StepsCached; n != 4 {
		t.Errorf("the builds shared %d steps, want 4", n)
	}
}

// users is how many hold or wait for the lock of key.
func (l *locks) users(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.m[key]; k != nil {
		return k.users
	}
	return 0
}
