package build

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

// fakeSources has one file for everything on the web.
type fakeSources struct {
	file, format string
	err          error
	asked        []string
}

func (f *fakeSources) Handles(ref string) bool { return strings.HasPrefix(ref, "http://") }

func (f *fakeSources) Fetch(_ context.Context, ref, digest string, progress source.Progress) (source.Fetched, error) {
	f.asked = append(f.asked, ref+" "+digest)
	progress("half way", 1, 2)
	return source.Fetched{Path: f.file, Format: f.format}, f.err
}

// streamStore also takes streams.
type streamStore struct {
	*fakeStore
	zfssync.Streams
	received []string
}

func (s *streamStore) Receive(_ context.Context, o zfssync.Object, opt zfssync.ReceiveOptions, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.layers[o.Name] = ""
	s.received = append(s.received, string(opt.Format)+" "+opt.GUID+" "+opt.Base+" "+opt.Snapshot)
	if len(b) != 312 {
		return errors.New("the first record is missing")
	}
	return nil
}

func onWeb(digest string) spec.Image {
	w := spec.Wish{Images: []spec.Image{{Name: "a", Base: "http://host/a", BaseDigest: digest}}}
	if err := w.Seal(); err != nil {
		panic(err)
	}
	return w.Images[0]
}

func tempFile(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestABaseOfTheWebIsFetchedByItsDigestAndUnpacked(t *testing.T) {
	t.Parallel()
	store, digest := newFakeStore(t), "sha256:"+strings.Repeat("1", 64)
	f := &fakeSources{file: tempFile(t, nil), format: "tar"}
	b := New(Config{Store: store, Sources: f, Dir: t.TempDir()})
	var progress []Event
	img := onWeb(digest)
	if _, err := b.Build(t.Context(), Request{Image: img}, func(e Event) { progress = append(progress, e) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.asked, []string{"http://host/a " + digest}) || !slices.Equal(store.bases, []string{f.file}) {
		t.Errorf("asked for %v, unpacked %v", f.asked, store.bases)
	}
	if !store.HasLayer(img.BaseKey()) {
		t.Error("the layer has another key than the pinned base")
	}
	if _, err := os.Stat(f.file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the fetched file stays: %v", err)
	}
	if !slices.ContainsFunc(progress, func(e Event) bool { return e.Text == "half way" && e.Bytes == 1 && e.Total == 2 }) {
		t.Errorf("progress was %+v", progress)
	}
}

func TestWhatSourcesRefuseMakesNoLayer(t *testing.T) {
	t.Parallel()
	store, refused := newFakeStore(t), errors.New("refused")
	b := New(Config{Store: store, Sources: &fakeSources{err: refused}, Dir: t.TempDir()})
	if _, err := b.Build(t.Context(), Request{Image: onWeb("")}, nil); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if len(store.layers)+len(store.images) > 0 {
		t.Errorf("made %v %v", store.layers, store.images)
	}
}

func TestAZFSStreamIsReceivedUnderItsGUID(t *testing.T) {
	t.Parallel()
	head := make([]byte, 312)
	head[40], head[41] = 0x39, 0x05 // GUID 1337
	f := &fakeSources{file: tempFile(t, head), format: "zfs"}
	store := &streamStore{fakeStore: newFakeStore(t)}
	if _, err := New(Config{Store: store, Sources: f, Dir: t.TempDir()}).Build(t.Context(), Request{Image: onWeb("")}, nil); err != nil {
		t.Fatal(err)
	}
	if want := "zfs 1337 http://host/a layer"; !slices.Equal(store.received, []string{want}) {
		t.Errorf("received %v, want %s", store.received, want)
	}
	head[48] = 1 // an increment
	f.file = tempFile(t, head)
	store = &streamStore{fakeStore: newFakeStore(t)}
	if _, err := New(Config{Store: store, Sources: f, Dir: t.TempDir()}).Build(t.Context(), Request{Image: onWeb("")}, nil); err == nil || len(store.received) > 0 {
		t.Errorf("an increment: %v, received %v", err, store.received)
	}
	f = &fakeSources{file: tempFile(t, head), format: "zfs"}
	if _, err := New(Config{Store: newFakeStore(t), Sources: f, Dir: t.TempDir()}).Build(t.Context(), Request{Image: onWeb("")}, nil); !errors.Is(err, zfssync.ErrFormat) {
		t.Errorf("a store without streams: %v", err)
	}
}

func TestABaseThatIsAnImageMustBeTheOneThatWasPlanned(t *testing.T) {
	t.Parallel()
	now := "sha256:" + strings.Repeat("2", 64)
	b := New(Config{Store: newFakeStore(t), Dir: t.TempDir(), Resolve: func(string) (string, bool) { return now, true }})
	if _, err := b.Build(t.Context(), Request{Image: onWeb("sha256:" + strings.Repeat("1", 64))}, nil); err == nil || !strings.Contains(err.Error(), "plan again") {
		t.Errorf("got %v", err)
	}
}
