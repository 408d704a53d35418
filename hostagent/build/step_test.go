package build

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

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
	if _, err := b.Build(t.Context(), Request{Image: img}, nil); err != nil {
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
		if _, err := b.Build(t.Context(), Request{Image: image(t, "web", base, "RUN x")}, nil); !errors.Is(err, zfssync.ErrNotFound) || !strings.Contains(err.Error(), "web") {
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
		if _, err := b.Build(t.Context(), Request{Image: img, Context: bytes.NewReader(packed)}, nil); err == nil || !strings.Contains(err.Error(), "COPY f /f") {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	if _, err := b.Build(t.Context(), Request{Image: img}, nil); err == nil || !strings.Contains(err.Error(), "none was sent") {
		t.Errorf("no context: got %v", err)
	}
	if res, err := b.Build(t.Context(), Request{Image: img, Context: bytes.NewReader(good)}, nil); err != nil || res.StepsRun != 2 {
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
