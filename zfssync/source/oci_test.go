package source_test

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

func imageOf(t testing.TB, layers ...[]member) v1.Image {
	t.Helper()
	img := empty.Image
	for _, l := range layers {
		b := tarOf(t, l...)
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// example has every kind of whiteout, and links across them.
func example(t testing.TB) v1.Image {
	dir := func(name string) member { return member{name: name, kind: tar.TypeDir} }
	link := func(name, to string) member { return member{name: name, link: to, kind: tar.TypeLink} }
	return imageOf(t,
		[]member{dir("etc/"), {name: "etc/a", text: "1"}, {name: "etc/b", text: "1"}, link("etc/c", "etc/b"), link("etc/d", "etc/b"), {name: "gone/x", text: "1"},
			{name: "opaque/old", text: "1"}, {name: "was/dir", text: "1"}, {name: "kept", text: "1"}},
		[]member{{name: "./etc/b", text: "2"}, {name: ".wh.gone"}, {name: "opaque/.wh..wh..opq"}, {name: "opaque/new", text: "2"}, {name: "was", text: "a file now"}},
		[]member{{name: "etc/.wh.a"}, link("link", "kept")},
	)
}

const merged = "etc/ etc/c=1 etc/d->etc/c kept=1 etc/b=2 opaque/new=2 was=a file now link->kept"

func newRegistry(t testing.TB) string {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestImageOfARegistryIsFlattened(t *testing.T) {
	t.Parallel()
	host := newRegistry(t)
	tag, err := name.ParseReference(host + "/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	img := example(t)
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
	s, dir := newSources(t, source.Config{})
	o, err := s.Look(t.Context(), "oci:"+host+"/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if want, err := img.Digest(); err != nil || o.Digest != want.String() || o.Kind != "oci" || o.Signer != "" {
		t.Errorf("got %+v, want the digest %v, %v", o, want, err)
	}
	f, err := s.Fetch(t.Context(), "oci:"+host+"/team/app@"+o.Digest, o.Digest, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, f); got != merged {
		t.Errorf("got  %s\nwant %s", got, merged)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := s.Look(t.Context(), "oci:"+host+"/team/other"); err == nil {
		t.Error("an image that is not there was found")
	}
}

func TestImageIsChosenByPlatform(t *testing.T) {
	t.Parallel()
	mine, other := imageOf(t, []member{{name: "mine"}}), imageOf(t, []member{{name: "other"}})
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: mine, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
	)
	host, dir := newRegistry(t), t.TempDir()
	tag, err := name.ParseReference(host + "/multi")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	if _, err := layout.Write(dir, index); err != nil {
		t.Fatal(err)
	}
	s, _ := newSources(t, source.Config{})
	for _, ref := range []string{"oci:" + host + "/multi", "oci:" + dir} {
		f, err := s.Fetch(t.Context(), ref, "", nil)
		if err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
		if got := read(t, f); got != "mine=" {
			t.Errorf("%s: got %s", ref, got)
		}
	}
}

func TestLayoutDirectoryIsChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	img := example(t)
	if err := at.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	s, bases := newSources(t, source.Config{})
	f, err := s.Fetch(t.Context(), "oci:"+dir, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, f); got != merged {
		t.Errorf("got  %s\nwant %s", got, merged)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "blobs", "sha256", h.Hex)
	b, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	write(t, blob, b)
	_, err = s.Fetch(t.Context(), "oci:"+dir, "", nil)
	wantRefused(t, err, bases, bundle.WrongHash)
	write(t, blob, append(b, 'x'))
	_, err = s.Fetch(t.Context(), "oci:"+dir, "", nil)
	wantRefused(t, err, bases, bundle.TrailingData)
}

func TestCraftedLayersAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		layers [][]member
		want   bundle.Reason
	}{
		"escape":       {[][]member{{{name: "../../etc/cron.d/x", text: "x"}}}, bundle.Escape},
		"link escape":  {[][]member{{{name: "up", kind: tar.TypeSymlink, link: "../../etc"}}}, bundle.Escape},
		"device":       {[][]member{{{name: "sda", kind: tar.TypeBlock}}}, bundle.Device},
		"only deletes": {[][]member{{{name: ".wh.a"}}}, bundle.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at, err := layout.Write(dir, empty.Index)
			if err != nil {
				t.Fatal(err)
			}
			if err := at.AppendImage(imageOf(t, tt.layers...)); err != nil {
				t.Fatal(err)
			}
			s, bases := newSources(t, source.Config{})
			_, err = s.Fetch(t.Context(), "oci:"+dir, "", nil)
			wantRefused(t, err, bases, tt.want)
		})
	}
}
