package build

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/spec"
)

func TestWhatABaseSaysOfProcessesHoldsUnlessTheFileSaysOtherwise(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("1", 64)
	var seen []string
	known := map[string]string{}
	b, s, _ := newFake(t, func(_ context.Context, j jail.Spec, _ func(string)) int {
		seen = append(seen, strings.Join(j.Env, " ")+" "+j.User+j.WorkDir)
		return 0
	}, func(c *Config) {
		c.Defaults = func(ref, got string) (Defaults, error) {
			if ref != "oci:app" || got != digest {
				return Defaults{}, errors.New("asked for another")
			}
			return Defaults{Env: []string{"A=base", "B=base"}, Command: []string{"/entry", "-x"}, User: "app", WorkDir: "/srv"}, nil
		}
		c.Resolve = func(name string) (string, bool) { key, ok := known[name]; return key, ok }
	})
	built := func(name, base, pin string, env []spec.EnvVar, command ...string) spec.Image {
		t.Helper()
		w := spec.Wish{Images: []spec.Image{{Name: name, Base: base, BaseDigest: pin, Env: env, Command: command, Steps: []spec.Step{{Kind: spec.StepRun, Run: "x " + name, Text: "RUN x"}}}}}
		if err := w.Seal(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Build(t.Context(), Request{Image: w.Images[0]}, nil); err != nil {
			t.Fatal(err)
		}
		known[name] = w.Images[0].Key
		return w.Images[0]
	}
	first := built("defaults-first", "oci:app", digest, []spec.EnvVar{{Name: "A", Value: "own"}})
	got := s.images[first.Key]
	if !slices.Equal(got.Env, []string{"A=base", "B=base", "A=own"}) || !slices.Equal(got.Command, []string{"/entry", "-x"}) || got.User != "app" || got.WorkDir != "/srv" {
		t.Errorf("taken over: %+v", got)
	}
	if len(seen) != 1 || !strings.Contains(seen[0], "A=base B=base") || !strings.HasSuffix(seen[0], " /") {
		t.Errorf("RUN is root's, in /, with the base's variables: %q", seen)
	}
	above := built("defaults-above", "defaults-first", first.Key, nil, "/own")
	got = s.images[above.Key]
	if !slices.Equal(got.Env, []string{"A=base", "B=base", "A=own"}) || !slices.Equal(got.Command, []string{"/own"}) || got.User != "app" {
		t.Errorf("an image on that image: %+v", got)
	}
}

// TestAnImageStandsOnTheImageThatItWasPlannedWith, also when the cluster's name for that means the one before, or nothing.
func TestAnImageStandsOnTheImageThatItWasPlannedWith(t *testing.T) {
	t.Parallel()
	var named string
	b, s, _ := newFake(t, nil, func(c *Config) {
		c.Resolve = func(string) (string, bool) { return named, named != "" }
	})
	build := func(img spec.Image) {
		t.Helper()
		if _, err := b.Build(t.Context(), Request{Image: img}, nil); err != nil {
			t.Fatal(err)
		}
	}
	old := image(t, "below", "debian:bookworm", "RUN old")
	build(old)
	for _, named = range []string{"", old.Key} {
		w := spec.Wish{Images: []spec.Image{
			{Name: "below", Base: "debian:bookworm", Steps: []spec.Step{{Kind: spec.StepRun, Run: "new" + named, Text: "RUN new"}}},
			{Name: "above", Base: "below", Steps: []spec.Step{{Kind: spec.StepRun, Run: "more", Text: "RUN more"}}},
		}}
		if err := w.Seal(); err != nil {
			t.Fatal(err)
		}
		below, above := w.Images[0], w.Images[1]
		above.BaseDigest = below.Key // as rexctl sends it
		build(below)
		build(above)
		if got, want := s.layers[s.images[above.Key].Top], below.Steps[0].Key; got != want {
			t.Errorf("with the name meaning %.12q it stands on layer %.19s, want %.19s", named, got, want)
		}
	}
}
