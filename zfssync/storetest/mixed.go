package storetest

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Mixed moves things between a store whose streams are tar and one whose streams are zfs: an image goes to the second as it is,
// layer by layer, and to the first as a packed root; snapshots of volumes and jails, which only their own kind could go on with, are
// refused before a byte is read.
func Mixed(t *testing.T, tarStore, zfsStore Opened) {
	t.Helper()
	list := layered(t, tarStore)
	for _, s := range list {
		Move(t, tarStore, zfsStore, s, s.Origin)
	}
	must(t, zfsStore.PutImage(t.Context(), zfssync.Image{Key: Key(30), Top: Key(3)}))
	root, err := zfsStore.Clone(t.Context(), Key(30), UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantLayered(t, root)

	// And back: as a base of its own.
	packed := filepath.Join(t.TempDir(), "image.tar.zst")
	f, err := os.Create(packed)
	must(t, err)
	must(t, zfssync.PackRoot(t.Context(), root, f))
	must(t, f.Close())
	must(t, tarStore.Base(t.Context(), packed, Key(4), nil))
	must(t, tarStore.PutImage(t.Context(), zfssync.Image{Key: Key(40), Top: Key(4)}))
	root, err = tarStore.Clone(t.Context(), Key(40), UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantLayered(t, root)

	for _, way := range []struct{ from, to Opened }{{tarStore, zfsStore}, {zfsStore, tarStore}} {
		refuses(t, way.from, way.to)
	}
}

// refuses fails if to takes what from has of its own.
func refuses(t *testing.T, from, to Opened) {
	t.Helper()
	_, err := from.Volume(t.Context(), "v", 0)
	must(t, err)
	volume, jail := zfssync.Object{Kind: zfssync.KindVolume, Name: "v"}, zfssync.Object{Kind: zfssync.KindJail, Name: UUID(1)}
	before, err := to.List(t.Context())
	must(t, err)
	for _, o := range []zfssync.Object{volume, jail} {
		snap, err := from.TakeSnapshot(t.Context(), o, "move")
		must(t, err)
		var buf bytes.Buffer
		must(t, from.Send(t.Context(), o, zfssync.SendOptions{From: snap.Origin}, &buf))
		o.Name = map[zfssync.Kind]string{zfssync.KindVolume: "w", zfssync.KindJail: UUID(2)}[o.Kind]
		wantErr(t, "a stream of the other kind", to.Receive(t.Context(), o, Options(snap, snap.Origin), io.MultiReader(never{t}, &buf)), zfssync.ErrFormat)
	}
	after, err := to.List(t.Context())
	if err != nil || len(after.Volumes) != len(before.Volumes) || len(after.Clones) != len(before.Clones) || len(after.Leftovers) > 0 {
		t.Errorf("a refused stream left something: %+v, %v", after, err)
	}
}
