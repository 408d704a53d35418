//go:build linux

package build

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/zfstest"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// openZFS opens a store on a pool of its own.
func openZFS(t *testing.T) zfssync.Store {
	t.Helper()
	s, err := zfssync.OpenZFS(t.Context(), zfssync.Config{Dir: filepath.Join(t.TempDir(), "store"), Dataset: zfstest.Pool(t, 64<<20) + "/rex", Instance: "test", Runner: run.Real{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Teardown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestAnImageGoesFromPoolToPoolAsABundle: exported by zfs send, made a base by zfs receive; and as a tar.
func TestAnImageGoesFromPoolToPoolAsABundle(t *testing.T) {
	if !zfstest.Isolated(t) {
		return
	}
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "hello"), []byte("world"), 0o640); err != nil {
		t.Fatal(err)
	}
	w := spec.Wish{Images: []spec.Image{{Name: "a", Base: from}}}
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	b := New(Config{Store: openZFS(t), Dir: t.TempDir()})
	if _, err := b.Build(t.Context(), Request{Image: w.Images[0]}, nil); err != nil {
		t.Fatal(err)
	}
	there := openZFS(t)
	for _, format := range []string{"zfs", "tar"} {
		var packed bytes.Buffer
		taken := ""
		open := func(f zfssync.Format) io.Writer { taken = string(f); return &packed }
		if err := b.Export(t.Context(), w.Images[0].Key, strings.TrimPrefix(format, "zfs"), open); err != nil || taken != format {
			t.Fatalf("export: %v, as %q, want %s", err, taken, format)
		}
		file := tempFile(t, packed.Bytes())
		img := onWeb("sha256:" + strings.Repeat(map[string]string{"zfs": "1", "tar": "2"}[format], 64))
		if _, err := New(Config{Store: there, Sources: &fakeSources{file: file, format: format}, Dir: t.TempDir()}).Build(t.Context(), Request{Image: img}, nil); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		uuid := randomUUID()
		root, err := there.Clone(t.Context(), img.Key, uuid, zfssync.CloneOptions{})
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if text, err := os.ReadFile(filepath.Join(root, "hello")); err != nil || string(text) != "world" {
			t.Errorf("%s: got %q, %v", format, text, err)
		}
		if err := there.Destroy(t.Context(), uuid); err != nil {
			t.Error(err)
		}
	}
}
