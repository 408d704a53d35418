package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

func TestAFailedStepIsKeptOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	b, s, _ := newFake(t, func(_ context.Context, s jail.Spec, _ func(string)) int {
		if s.Argv[2] == "bad" {
			return 1
		}
		return 0
	})
	img := image(t, "web:2", "debian:bookworm", "RUN good", "ENV A=1", "RUN bad", "RUN never")
	res, err := b.Build(t.Context(), Request{Image: img}, nil)
	if err == nil || res.Kept != nil || len(s.images) != 0 || len(s.layers) != 2 {
		t.Fatalf("without keep: %+v, %v; %d images, layers %v", res, err, len(s.images), s.layers)
	}
	res, err = b.Build(t.Context(), Request{Image: img, Keep: true}, nil)
	if _, ok := errors.AsType[*StepError](err); !ok || res.Kept == nil || res.Kept.Name != "web:failed" || len(res.Kept.Steps) != 3 {
		t.Fatalf("with keep: %+v, %v", res.Kept, err)
	}
	kept, ok := s.images[res.Kept.Key]
	if !ok || !slices.Equal(kept.Env, []string{"A=1"}) || s.layers[kept.Top] != img.Steps[0].Key {
		t.Errorf("kept: %+v on %s", kept, s.layers[kept.Top])
	}
	if s.HasLayer(img.Steps[2].Key) {
		t.Error("what a failed step left counts as the step done")
	}
}

func TestACancelledStepIsNotKept(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b, s, _ := newFake(t, func(ctx context.Context, _ jail.Spec, _ func(string)) int {
		cancel()
		<-ctx.Done()
		return 0
	})
	res, err := b.Build(ctx, Request{Image: image(t, "web", "debian:bookworm", "RUN x"), Keep: true}, nil)
	if !errors.Is(err, context.Canceled) || res.Kept != nil || len(s.images) != 0 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestARequestMayShortenTheTimeOfAStep(t *testing.T) {
	t.Parallel()
	b, _, _ := newFake(t, func(ctx context.Context, _ jail.Spec, _ func(string)) int {
		<-ctx.Done()
		return 0
	}, func(c *Config) { c.Timeout = 50 * time.Millisecond })
	for _, r := range []time.Duration{20 * time.Millisecond, time.Hour} {
		_, err := b.Build(t.Context(), Request{Image: image(t, "web", "debian:bookworm", "RUN x"), Timeout: r}, nil)
		if want := fmt.Sprintf("timed out after %v", min(r, 50*time.Millisecond)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestAShellLeavesNothing(t *testing.T) {
	t.Parallel()
	closed := 0
	b, s, j := newFake(t, nil, func(c *Config) {
		c.Attach = func(context.Context, string) (Network, error) {
			return Network{NetNS: "/run/ns", Close: func() error { closed++; return nil }}, nil
		}
	})
	img := image(t, "web", "debian:bookworm", "ENV A=1", "RUN x")
	if _, err := b.Build(t.Context(), Request{Image: img}, nil); err != nil {
		t.Fatal(err)
	}
	closed = 0
	j.exec = func(sp jail.Spec, x jail.Exec) int {
		if sp.NetNS != "/run/ns" || !slices.Contains(x.Env, "A=1") || !slices.Equal(x.Argv, []string{"ls"}) || x.WorkDir != "/" {
			t.Errorf("jail %+v, exec %+v", sp, x)
		}
		return 7
	}
	if code, err := b.Shell(t.Context(), img.Key, jail.Exec{Argv: []string{"ls"}}); err != nil || code != 7 || closed != 1 || s.clones != 0 {
		t.Errorf("got %d, %v; network closed %d times, %d clones", code, err, closed, s.clones)
	}
	if _, err := b.Shell(t.Context(), "sha256:none", jail.Exec{Argv: []string{"ls"}}); !errors.Is(err, zfssync.ErrNotFound) {
		t.Errorf("no image: got %v", err)
	}
}
