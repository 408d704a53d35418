package source_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

func configured(t *testing.T, c v1.Config) v1.Image {
	t.Helper()
	img, err := mutate.Config(example(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func layoutOf(t *testing.T, img v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := at.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImagesConfigurationIsTakenOver(t *testing.T) {
	t.Parallel()
	img := configured(t, v1.Config{Env: []string{"PATH=/bin", "A=b=c"}, Entrypoint: []string{"/entry"}, Cmd: []string{"-x", "1"}, User: "app:www", WorkingDir: "srv"})
	want := &source.Defaults{Env: []string{"PATH=/bin", "A=b=c"}, Command: []string{"/entry", "-x", "1"}, User: "app:www", WorkDir: "/srv"}
	memory, debian := newRegistry(t), startRegistry(t)
	refs := []string{"oci:" + layoutOf(t, img), "oci:" + memory + "/app", "oci:" + debian + "/app"}
	for _, host := range []string{memory, debian} {
		tag, err := name.ParseReference(host + "/app")
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(tag, img); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := newSources(t, source.Config{})
	for _, ref := range refs {
		if o, err := s.Look(t.Context(), ref); err != nil || !reflect.DeepEqual(o.Defaults, want) {
			t.Errorf("%s: got %+v, %v", ref, o.Defaults, err)
		}
	}
	if o, err := s.Look(t.Context(), "oci:"+layoutOf(t, example(t))); err != nil || o.Defaults != nil {
		t.Errorf("an image that says nothing: %+v, %v", o.Defaults, err)
	}
}

func TestOddConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]v1.Config{
		"no variable": {Env: []string{"=x"}},
		"zero byte":   {Cmd: []string{"a\x00b"}},
		"too long":    {Env: []string{"A=" + string(make([]byte, 70<<10))}},
	} {
		s, bases := newSources(t, source.Config{})
		_, err := s.Look(t.Context(), "oci:"+layoutOf(t, configured(t, c)))
		if err == nil {
			t.Errorf("%s: taken", what)
			continue
		}
		wantRefused(t, err, bases, bundle.Malformed)
	}
	img := configured(t, v1.Config{User: "app"})
	dir := layoutOf(t, img)
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "blobs", "sha256", m.Config.Digest.Hex)
	b, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	write(t, blob, b)
	s, bases := newSources(t, source.Config{})
	_, err = s.Look(t.Context(), "oci:"+dir)
	wantRefused(t, err, bases, bundle.WrongHash)
}
