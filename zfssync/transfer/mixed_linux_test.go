package transfer

import (
	"errors"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/zfstest"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// TestAnImageGoesBetweenDirectoriesAndZFS: a layer as tar is the same wherever it is, so a host that made the lower ones by itself takes the
// rest. The other way round an image is one layer. Volumes are refused.
func TestAnImageGoesBetweenDirectoriesAndZFS(t *testing.T) {
	if !zfstest.Isolated(t) {
		return
	}
	dir := t.TempDir()
	there, here := openOverlay(t, dir+"/there"), openZFS(t, dir+"/here")
	img := realImage(t, there, 3<<20)
	f := newFabric(t)
	src := f.host(t, "host-b", there)
	c := newClient(t, Config{Store: here, Delta: true})
	if err := c.EnsureImage(t.Context(), img, []Source{src}); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, there, here, img)
	if _, err := there.Volume(t.Context(), zfssync.VolumeID(volume.Name), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := src.TakeSnapshot(t.Context(), volume, TemporaryPrefix+"0"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.EnsureObject(t.Context(), volume, ObjectOptions{}, []Source{src}); !errors.Is(err, zfssync.ErrFormat) {
		t.Errorf("a volume of the other kind: %v", err)
	}

	// A host on ZFS that has the two lower layers of its own making gets the third.
	other := openZFS(t, dir+"/other")
	c = newClient(t, Config{Store: other})
	if err := other.Base(t.Context(), makeTree(t, 3<<20), key(1), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureImage(t.Context(), img, []Source{src}); err != nil {
		t.Fatal(err)
	}
	if !other.HasLayer(key(3)) || len(mustList(t, other).Layers) != 3 {
		t.Errorf("it has %v", mustList(t, other).Layers)
	}

	// And from ZFS to directories, as one layer; a cut does not begin it anew.
	flat := openOverlay(t, dir+"/flat")
	ill, i := illHost(t, "host-c", here, func(n int) fault {
		if n == 0 {
			return fault{3*frameWire + 1000, "cut"}
		}
		return fault{at: -1}
	})
	if err := newClient(t, Config{Store: flat}).EnsureImage(t.Context(), img, []Source{ill}); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, there, flat, img)
	if got, err := flat.Image(img); err != nil || got.Layers != 1 || got.Name != "web" || len(mustList(t, here).Leftovers) > 0 {
		t.Errorf("image: %+v, %v, left there: %v", got, err, mustList(t, here).Leftovers)
	}
	if i.sent() > 7<<20 { // of 4 MiB
		t.Errorf("%d bytes were sent", i.sent())
	}
}

func mustList(t *testing.T, s zfssync.Store) zfssync.Listing {
	t.Helper()
	l, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}
