package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// fakeStore keeps layers as names; the root of a step is an empty directory.
type fakeStore struct {
	tb      testing.TB
	mu      sync.Mutex // guards the rest
	layers  map[string]string
	images  map[string]zfssync.Image
	bases   []string
	open    int
	clones  int
	holds   int
	aborted int
}

func newFakeStore(tb testing.TB) *fakeStore {
	return &fakeStore{tb: tb, layers: map[string]string{}, images: map[string]zfssync.Image{}}
}

func (s *fakeStore) HasImage(key string) bool { _, err := s.Image(key); return err == nil }

func (s *fakeStore) Image(key string) (zfssync.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	img, ok := s.images[key]
	if !ok {
		return img, zfssync.ErrNotFound
	}
	return img, nil
}

func (s *fakeStore) PutImage(_ context.Context, img zfssync.Image) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.layers[img.Top]; !ok {
		return fmt.Errorf("image on layer %s: %w", img.Top, zfssync.ErrNotFound)
	}
	img.Bytes = 1
	s.images[img.Key] = img
	return nil
}

func (s *fakeStore) HasLayer(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.layers[key]
	return ok
}

func (s *fakeStore) Base(_ context.Context, ref, key string, progress zfssync.Progress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ref == "missing" {
		return zfssync.ErrNotFound
	}
	progress("making " + ref)
	s.layers[key] = ""
	s.bases = append(s.bases, ref)
	return nil
}

func (s *fakeStore) Hold() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.holds--
	}
}

func (s *fakeStore) BeginStep(_ context.Context, parent, key string, _ zfssync.IDMap) (zfssync.Build, error) {
	root := s.tb.TempDir()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.layers[parent]; !ok {
		return nil, fmt.Errorf("parent %s: %w", parent, zfssync.ErrNotFound)
	}
	s.open++
	return &fakeStep{s: s, parent: parent, key: key, root: root}, nil
}

func (s *fakeStore) Clone(context.Context, string, string, zfssync.CloneOptions) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clones++
	return s.tb.TempDir(), nil
}

func (s *fakeStore) Destroy(context.Context, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clones--
	return nil
}

type fakeStep struct {
	s                 *fakeStore
	parent, key, root string
	done              bool
}

func (f *fakeStep) Root() string { return f.root }

func (f *fakeStep) Commit(ctx context.Context) error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.layers[f.key], f.done = f.parent, true
	f.s.open--
	return ctx.Err()
}

func (f *fakeStep) CommitAs(ctx context.Context, key string) error {
	f.key = key
	return f.Commit(ctx)
}

func (f *fakeStep) Abort() error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if !f.done {
		f.done = true
		f.s.open--
		f.s.aborted++
	}
	return nil
}

// fakeJails runs a function in place of a command line.
type fakeJails struct {
	run func(ctx context.Context, s jail.Spec, say func(string)) int

	exec func(s jail.Spec, x jail.Exec) int

	mu    sync.Mutex // guards the rest
	specs map[string]jail.Spec
	runs  []string
	live  int
}

func (f *fakeJails) Start(_ context.Context, s jail.Spec) (jail.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.specs[s.ID]; ok {
		return jail.Status{}, errors.New("a jail of this id is there")
	}
	if f.specs == nil {
		f.specs = map[string]jail.Spec{}
	}
	f.specs[s.ID] = s
	f.runs = append(f.runs, s.Argv[2])
	f.live++
	for _, m := range s.Mounts { // as the runtime does
		p := filepath.Join(s.Root, m.Target)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return jail.Status{}, err
		}
		w, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return jail.Status{}, err
		}
		_ = w.Close()
	}
	return jail.Status{ID: s.ID, Phase: jail.Running}, nil
}

func (f *fakeJails) Wait(ctx context.Context, id string) (jail.Status, error) {
	f.mu.Lock()
	s := f.specs[id]
	f.mu.Unlock()
	log, err := os.OpenFile(s.LogPath, os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return jail.Status{}, err
	}
	defer log.Close()
	code := 0
	if f.run != nil {
		code = f.run(ctx, s, func(line string) { _, _ = log.WriteString(line + "\n") })
	}
	if err := ctx.Err(); err != nil {
		return jail.Status{}, err
	}
	return jail.Status{ID: id, Phase: jail.Stopped, Exit: &jail.Exit{Known: true, Code: code, At: time.Now()}}, nil
}

func (f *fakeJails) Exec(_ context.Context, id string, x jail.Exec) (int, error) {
	f.mu.Lock()
	s := f.specs[id]
	f.mu.Unlock()
	return f.exec(s, x), nil
}

func (f *fakeJails) Remove(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.specs[id]; ok {
		delete(f.specs, id)
		f.live--
	}
	return nil
}

// image makes a wish with keys; "RUN x" and "ENV k=v" lines.
func image(tb testing.TB, name, base string, lines ...string) spec.Image {
	tb.Helper()
	img := spec.Image{Name: name, Base: base, Rexfile: name + ".rex"}
	for i, l := range lines {
		s := spec.Step{Line: i + 2, Text: l}
		if kv, ok := strings.CutPrefix(l, "ENV "); ok {
			k, v, _ := strings.Cut(kv, "=")
			s.Kind, s.Env = spec.StepEnv, []spec.EnvVar{{Name: k, Value: v}}
			img.Env = append(img.Env, s.Env...)
		} else {
			s.Kind, s.Run = spec.StepRun, strings.TrimPrefix(l, "RUN ")
		}
		img.Steps = append(img.Steps, s)
	}
	return seal(tb, img)
}

func seal(tb testing.TB, img spec.Image) spec.Image {
	tb.Helper()
	w := spec.Wish{Images: []spec.Image{img}}
	if err := w.Seal(); err != nil {
		tb.Fatal(err)
	}
	return w.Images[0]
}
