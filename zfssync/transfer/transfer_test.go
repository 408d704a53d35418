package transfer

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

var volume = zfssync.Object{Kind: zfssync.KindVolume, Name: "w.db.data"}

func TestAnImageComesWholeAndLowestLayerFirst(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatZFS), newMem(zfssync.FormatZFS)
	img := there.addImage(3, 300_000)
	src := newFabric(t).host(t, "host-b", there)
	c := newClient(t, Config{Store: here})
	var wg sync.WaitGroup
	for range 5 { // five jails of one image start at once
		wg.Go(func() {
			if err := c.EnsureImage(t.Context(), img, []Source{src}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := here.Image(img); err != nil || got.Name != "web" {
		t.Fatalf("image: %+v, %v", got, err)
	}
	var want []string
	from := ""
	for i := 1; i <= 3; i++ {
		want = append(want, layerObject(i).String()+"@layer from \""+from+"\"")
		from = "g-" + key(i)
		wantSame(t, there, here, layerObject(i), from)
	}
	if !slices.Equal(here.received, want) {
		t.Errorf("received %q, want %q", here.received, want)
	}
}

func TestOnlyWhatIsMissingTravels(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatZFS), newMem(zfssync.FormatZFS)
	src := newFabric(t).host(t, "host-b", there)
	c := newClient(t, Config{Store: here})
	for i, name := range []string{"a", "b", "c"} {
		snap := there.add(volume, name, blob{data: noise(uint64(i), 100_000)})
		got, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src})
		if err != nil || got.GUID != snap.GUID {
			t.Fatalf("%s: %v, %v", name, got, err)
		}
		wantSame(t, there, here, volume, snap.GUID)
	}
	if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src}); err != nil {
		t.Fatal(err)
	}
	want := []string{`volume w.db.data@a from ""`, `volume w.db.data@b from "g-w.db.data-a"`, `volume w.db.data@c from "g-w.db.data-b"`}
	if !slices.Equal(here.received, want) {
		t.Errorf("received %q, want %q", here.received, want)
	}
}

func TestASnapshotForTheJourneyIsTakenAndDroppedThere(t *testing.T) {
	t.Parallel()
	there := newMem(zfssync.FormatZFS)
	there.add(volume, "daily", blob{data: []byte("x")})
	src := newFabric(t).host(t, "host-b", there)
	if _, err := src.TakeSnapshot(t.Context(), volume, "sync-1"); err != nil {
		t.Fatal(err)
	}
	if list, err := src.Snapshots(t.Context(), volume); err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v", list, err)
	}
	if err := src.DropSnapshot(t.Context(), volume, "sync-1"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{src.DropSnapshot(t.Context(), volume, "daily"), func() error { _, err := src.TakeSnapshot(t.Context(), volume, "x"); return err }()} {
		if r, ok := errors.AsType[*RemoteError](err); !ok || r.Code != CodeRefused {
			t.Errorf("a peer touched the user's snapshots: %v", err)
		}
	}
}

func TestOnlyHostsMayAsk(t *testing.T) {
	t.Parallel()
	f, there := newFabric(t), newMem(zfssync.FormatTar)
	img := there.addImage(1, 10)
	s := NewServer(ServerConfig{Store: there, Allow: allowHosts})
	for _, role := range []pki.Role{pki.RoleJail, pki.RoleUser} {
		_, err := f.serve(t, "host-b", role, s).Manifest(t.Context(), img, "")
		if r, ok := errors.AsType[*RemoteError](err); !ok || r.Code != CodeRefused {
			t.Errorf("%s: got %v, want a refusal", role, err)
		}
	}
	if _, err := f.serve(t, "host-b", pki.RoleHost, NewServer(ServerConfig{Store: there})).Manifest(t.Context(), img, ""); err == nil {
		t.Error("a server without a hook let somebody in")
	}
	if _, err := f.serve(t, "host-b", pki.RoleHost, s).Manifest(t.Context(), img, ""); err != nil {
		t.Error(err)
	}
}

func TestWhatNobodyHasIsAClearError(t *testing.T) {
	t.Parallel()
	f, here := newFabric(t), newMem(zfssync.FormatTar)
	other := newMem(zfssync.FormatZFS)
	img := other.addImage(1, 10)
	c := newClient(t, Config{Store: here})
	err := c.EnsureImage(t.Context(), img, []Source{f.host(t, "empty", newMem(zfssync.FormatTar)), f.host(t, "other", other)})
	if !errors.Is(err, ErrNowhere) || !errors.Is(err, zfssync.ErrFormat) || !strings.Contains(err.Error(), "build the image here") {
		t.Errorf("got %v", err)
	}
	if err := c.EnsureImage(t.Context(), img, nil); !errors.Is(err, ErrNowhere) {
		t.Errorf("without sources: %v", err)
	}
}

func TestProgressTellsBytesAndTheEnd(t *testing.T) {
	t.Parallel()
	there, here := newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	there.add(volume, "a", blob{data: noise(1, 3_000_000)})
	var got []Progress
	c := newClient(t, Config{Store: here, BytesPerSecond: 4 << 20, Progress: func(p Progress) { got = append(got, p) }})
	begun := time.Now()
	if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{newFabric(t).host(t, "host-b", there)}); err != nil {
		t.Fatal(err)
	}
	// 3 MB less one burst at 4 MiB/s: it cannot have been quicker, whatever the machine does.
	if took := time.Since(begun); took < 500*time.Millisecond {
		t.Errorf("took %v: the limit does not hold", took)
	}
	last := got[len(got)-1]
	if !last.Done || last.Bytes != 3_000_001 || last.Total != last.Bytes || last.Source != "host-b" || last.Rate <= 0 {
		t.Errorf("last progress: %+v", last)
	}
}

func TestAHostThatIsBusyIsLeftForAnother(t *testing.T) {
	t.Parallel()
	f, there, here := newFabric(t), newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	there.add(volume, "a", blob{data: noise(1, 1000)})
	s := NewServer(ServerConfig{Store: there, Allow: allowHosts, MaxStreams: 1})
	s.slots <- struct{}{} // somebody else's
	c := newClient(t, Config{Store: here})
	sources := []Source{f.serve(t, "busy", pki.RoleHost, s), f.host(t, "free", there)}
	if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, sources); err != nil {
		t.Fatal(err)
	}
	if got := c.scores.order(sources, nil)[0].Name; got != "free" {
		t.Errorf("next time %s is asked first, want free", got)
	}
}

// Many hosts that begin at once have one source, which sends a few streams at a time: they wait for their turn.
func TestTheOnlySourceIsWaitedForWhileItIsBusy(t *testing.T) {
	t.Parallel()
	f, there, here := newFabric(t), newMem(zfssync.FormatTar), newMem(zfssync.FormatTar)
	there.add(volume, "a", blob{data: noise(1, 1000)})
	s := NewServer(ServerConfig{Store: there, Allow: allowHosts, MaxStreams: 1})
	s.slots <- struct{}{} // somebody else's
	c := newClient(t, Config{Store: here, Tries: 1})
	refusals := 0
	counting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, pathStream) {
			if refusals++; refusals == 5 {
				<-s.slots
			}
		}
		s.ServeHTTP(w, r)
	})
	// Another one that has not got it must not end the wait.
	sources := []Source{f.serve(t, "busy", pki.RoleHost, counting), f.host(t, "empty", newMem(zfssync.FormatTar))}
	if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, sources); err != nil {
		t.Fatal(err)
	}
	if refusals < 5 {
		t.Errorf("it was asked %d times", refusals)
	}
}

var _ http.Handler = (*Server)(nil)
