package hostagent

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// stocked is an agent, which does not run, over a real store.
type stocked struct {
	*Agent
	t     *testing.T
	log   *fakeLog
	store zfssync.Store
}

func newStocked(t *testing.T) *stocked {
	t.Helper()
	testenv.RequireRoot(t)
	store, err := zfssync.OpenOverlay(zfssync.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(store.Teardown(t.Context()), store.Close()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	log := newFakeLog()
	log.stage.AddHost("h1", 4, 1<<30, nil)
	a := &Agent{c: Config{Host: "h1", Name: "host1", Cluster: log, Store: store, Log: slog.New(slog.DiscardHandler)}}
	return &stocked{Agent: a, t: t, log: log, store: store}
}

// base makes a lowest layer from a directory with one file.
func (s *stocked) base() string {
	s.t.Helper()
	dir := s.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "base"), []byte("base"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	key := stage.Key("layer base")
	if err := s.store.Base(s.t.Context(), dir, key, nil); err != nil {
		s.t.Fatal(err)
	}
	return key
}

// image makes one layer above parent with 64 KiB in it, and names it.
func (s *stocked) image(name, parent string) (top, key string) {
	s.t.Helper()
	top, key = stage.Key("layer "+name), stage.Key(name)
	l, err := s.store.BeginStep(s.t.Context(), parent, top, zfssync.IDMap{})
	if err != nil {
		s.t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(filepath.Join(l.Root(), name), make([]byte, 64<<10), 0o644), l.Commit(s.t.Context()))
	if err == nil {
		err = s.store.PutImage(s.t.Context(), zfssync.Image{Key: key, Top: top, Name: name, Base: "dir"})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.log.stage.Must(fsm.ReportBuild{Key: key, Host: "h1", Bytes: 64 << 10})
	return top, key
}

func (s *stocked) collect(o GC) []string {
	s.t.Helper()
	gone, busy, err := s.CollectImages(s.t.Context(), o)
	if err != nil || busy {
		s.t.Fatalf("collect: %v, busy %v", err, busy)
	}
	var out []string
	for _, g := range gone {
		if (g.Kind == "layer") != (g.Bytes >= 64<<10) && g.Kind != "base" {
			s.t.Errorf("%s %.19s: %d bytes", g.Kind, g.Key, g.Bytes)
		}
		what := g.Kind
		if g.Name != "" && g.Kind == "image" {
			what += " " + g.Name
		}
		out = append(out, what)
	}
	slices.Sort(out)
	return out
}

func TestCollectingImagesKeepsWhatAJailATagOrTheNewestNeeds(t *testing.T) {
	t.Parallel()
	s := newStocked(t)
	base := s.base()
	lower, _ := s.image("lower", base)    // needed by what stands on it
	_, tagged := s.image("tagged", lower) // has a name in the cluster
	_, cloned := s.image("cloned", lower) // a jail of this host
	_, old := s.image("old", base)        // garbage
	_, newer := s.image("newer", base)    // garbage, but the newest
	s.log.stage.Must(fsm.TagImage{Image: spec.Image{Name: "tagged", Key: tagged, Base: "dir"}})
	const uuid = "00000000-0000-4000-8000-000000000001"
	if _, err := s.store.Clone(t.Context(), cloned, uuid, zfssync.CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"image lower", "image old", "layer"}
	if got := s.collect(GC{DryRun: true, KeepNewest: 1}); !slices.Equal(got, want) {
		t.Errorf("dry run: got %q, want %q", got, want)
	}
	if !s.store.HasImage(old) {
		t.Fatal("a dry run has removed something")
	}
	if got := s.collect(GC{KeepNewest: 1}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for name, key := range map[string]string{"tagged": tagged, "cloned": cloned, "newer": newer} {
		if !s.store.HasImage(key) {
			t.Errorf("image %s is gone", name)
		}
		if b, ok := s.log.State().Builds.Get(key); !ok || len(b.Hosts) != 1 {
			t.Errorf("the cluster does not know that %s is here", name)
		}
	}
	if b, ok := s.log.State().Builds.Get(old); s.store.HasImage(old) || ok && len(b.Hosts) != 0 {
		t.Errorf("image old is there, or the cluster thinks so: %+v", b)
	}
	if got := s.collect(GC{KeepNewest: 1}); len(got) != 0 {
		t.Errorf("again: %q", got)
	}
	if err := s.store.Destroy(t.Context(), uuid); err != nil {
		t.Fatal(err)
	}
	s.log.stage.Must(fsm.UntagImage{Name: "tagged"})
	if got := s.collect(GC{Bases: true}); !slices.Equal(got, []string{"base", "image cloned", "image newer", "image tagged", "layer", "layer", "layer", "layer"}) {
		t.Errorf("nothing is needed any more: %q", got)
	}
	if l, err := s.store.List(t.Context()); err != nil || len(l.Layers)+len(l.Images) != 0 {
		t.Errorf("left: %+v, %v", l, err)
	}
}

func TestCollectingImagesLeavesTheLayersOfABuildUnderWay(t *testing.T) {
	t.Parallel()
	s := newStocked(t)
	top, _ := s.image("old", s.base())
	release := s.store.Hold()
	gone, busy, err := s.CollectImages(t.Context(), GC{})
	if err != nil || !busy || len(gone) != 1 || gone[0].Kind != "image" || !s.store.HasLayer(top) {
		t.Errorf("got %+v, busy %v, %v; want the name gone and the layer held", gone, busy, err)
	}
	release()
	if got := s.collect(GC{}); !slices.Equal(got, []string{"layer"}) || strings.Contains(strings.Join(got, " "), "base") {
		t.Errorf("after the build: %q", got)
	}
}
