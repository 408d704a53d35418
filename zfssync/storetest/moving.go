package storetest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

func snapshots(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	img := BaseImage(t, s, 1)
	v := zfssync.Object{Kind: zfssync.KindVolume, Name: "v"}
	vol, err := s.Volume(t.Context(), "v", 0)
	must(t, err)
	_, err = s.TakeSnapshot(t.Context(), zfssync.Object{Kind: zfssync.KindVolume, Name: "none"}, "a")
	wantErr(t, "snapshot of no volume", err, zfssync.ErrNotFound)
	write(t, vol+"/x", "1")
	first, err := s.TakeSnapshot(t.Context(), v, "b-first")
	must(t, err)
	write(t, vol+"/x", "2")
	write(t, vol+"/y", "2")
	second, err := s.TakeSnapshot(t.Context(), v, "a-second")
	must(t, err)
	same, err := s.TakeSnapshot(t.Context(), v, "b-first")
	if err != nil || same.GUID != first.GUID || first.GUID == second.GUID || first.GUID == "" {
		t.Errorf("got %+v, %v, want %+v again, unlike %+v", same, err, first, second)
	}
	write(t, vol+"/x", "3")
	list, err := s.Snapshots(t.Context(), v)
	if err != nil || len(list) != 2 || list[0].Name != "b-first" || list[1].Name != "a-second" {
		t.Fatalf("got %+v, %v, want the oldest first", list, err)
	}
	wantErr(t, "roll back over a newer one", s.Rollback(t.Context(), v, "b-first", zfssync.RollbackOptions{}), zfssync.ErrLaterSnapshots)
	wantErr(t, "roll back to nothing", s.Rollback(t.Context(), v, "no", zfssync.RollbackOptions{}), zfssync.ErrNotFound)
	_, err = s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	_, err = s.Bind(t.Context(), UUID(1), "v", vol, zfssync.BindOptions{})
	must(t, err)
	wantErr(t, "roll back under a jail", s.Rollback(t.Context(), v, "a-second", zfssync.RollbackOptions{}), zfssync.ErrInUse)
	must(t, s.Unmount(t.Context(), UUID(1)))
	must(t, s.Rollback(t.Context(), v, "a-second", zfssync.RollbackOptions{}))
	vol, err = s.Volume(t.Context(), "v", 0)
	must(t, err)
	wantFile(t, vol+"/x", "2")
	release, err := s.HoldSnapshot(t.Context(), v, "a-second")
	must(t, err)
	wantErr(t, "drop a held one", s.DropSnapshot(t.Context(), v, "a-second"), zfssync.ErrInUse)
	wantErr(t, "roll back over a held one", s.Rollback(t.Context(), v, "b-first", zfssync.RollbackOptions{DropLater: true}), zfssync.ErrInUse)
	wantErr(t, "destroy a volume with a held one", s.DestroyVolume(t.Context(), "v"), zfssync.ErrInUse)
	release()
	must(t, s.Rollback(t.Context(), v, "b-first", zfssync.RollbackOptions{DropLater: true}))
	vol, err = s.Volume(t.Context(), "v", 0)
	must(t, err)
	wantFile(t, vol+"/x", "1")
	wantGone(t, vol+"/y")
	for range 2 {
		must(t, s.DropSnapshot(t.Context(), v, "b-first"))
	}
	wantFile(t, vol+"/x", "1")
	if list, err = s.Snapshots(t.Context(), v); err != nil || len(list) != 0 {
		t.Errorf("got %+v, %v, want none", list, err)
	}
	jailSnapshots(t, s, img)
	layer := zfssync.Object{Kind: zfssync.KindLayer, Name: Key(1)}
	wantErr(t, "drop a layer's", s.DropSnapshot(t.Context(), layer, zfssync.LayerSnapshot), zfssync.ErrInUse)
}

func jailSnapshots(t *testing.T, s zfssync.Store, img string) {
	t.Helper()
	j := zfssync.Object{Kind: zfssync.KindJail, Name: UUID(1)}
	root, err := s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	must(t, os.Remove(root+"/etc/gone"))
	write(t, root+"/x", "1")
	_, err = s.TakeSnapshot(t.Context(), j, "one")
	must(t, err)
	write(t, root+"/x", "2")
	write(t, root+"/etc/gone", "back")
	wantErr(t, "roll a running jail back", s.Rollback(t.Context(), j, "one", zfssync.RollbackOptions{}), zfssync.ErrInUse)
	must(t, s.Unmount(t.Context(), UUID(1)))
	must(t, s.Rollback(t.Context(), j, "one", zfssync.RollbackOptions{}))
	root, err = s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantFile(t, root+"/x", "1")
	wantGone(t, root+"/etc/gone")
	wantFile(t, root+"/etc/motd", "base\n")
	must(t, s.Destroy(t.Context(), UUID(1)))
}

// Move sends one snapshot from a to b in memory, as one stream, and returns its size.
func Move(tb testing.TB, a, b zfssync.Store, snap zfssync.Snapshot, from string) int {
	tb.Helper()
	var buf bytes.Buffer
	must(tb, a.Send(ctxOf(tb), snap.Object, zfssync.SendOptions{Snapshot: snap.Name, From: from}, &buf))
	n := buf.Len()
	must(tb, b.Receive(ctxOf(tb), snap.Object, Options(snap, from), &buf))
	must(tb, b.Receive(ctxOf(tb), snap.Object, Options(snap, from), never{tb}))
	return n
}

// Options are those to receive snap with.
func Options(snap zfssync.Snapshot, from string) zfssync.ReceiveOptions {
	return zfssync.ReceiveOptions{
		Format: snap.Format, Snapshot: snap.Name, GUID: snap.GUID, From: from, Layer: snap.Layer, Image: snap.Image, Base: snap.Base, Devices: true,
	}
}

// never is a stream that is not to be read.
type never struct{ tb testing.TB }

func (n never) Read([]byte) (int, error) {
	n.tb.Error("the stream of what is there already was read")
	return 0, io.EOF
}

func newest(tb testing.TB, s zfssync.Store, o zfssync.Object) zfssync.Snapshot {
	tb.Helper()
	list, err := s.Snapshots(ctxOf(tb), o)
	must(tb, err)
	if len(list) == 0 {
		tb.Fatalf("%s has no snapshot", o)
	}
	return list[len(list)-1]
}

// layered makes an image of three layers, Key(30), with every kind of change, and gives their snapshots, lowest first.
func layered(tb testing.TB, s zfssync.Store) (list []zfssync.Snapshot) {
	tb.Helper()
	BaseImage(tb, s, 1)
	Step(tb, s, Key(1), Key(2), func(root string) {
		must(tb, os.Remove(root+"/etc/gone"))
		must(tb, os.WriteFile(root+"/etc/big", make2(1<<20), 0o600))
		must(tb, os.Chown(root+"/etc/motd", 5, 6))
	})
	Step(tb, s, Key(2), Key(3), func(root string) {
		must(tb, os.RemoveAll(root+"/srv"))
		must(tb, os.Mkdir(root+"/srv", 0o700))
		write(tb, root+"/srv/c", "c")
		must(tb, os.Link(root+"/srv/c", root+"/srv/d"))
	})
	must(tb, s.PutImage(ctxOf(tb), zfssync.Image{Key: Key(30), Top: Key(3)}))
	for n := 1; n <= 3; n++ {
		list = append(list, newest(tb, s, zfssync.Object{Kind: zfssync.KindLayer, Name: Key(n)}))
	}
	return list
}

func wantLayered(tb testing.TB, at string) {
	tb.Helper()
	wantGone(tb, at+"/etc/gone")
	wantGone(tb, at+"/srv/a")
	wantFile(tb, at+"/srv/c", "c")
	wantFile(tb, at+"/etc/motd", "base\n")
	b, err := os.ReadFile(at + "/etc/big")
	if err != nil || !bytes.Equal(b, make2(1<<20)) {
		tb.Errorf("big: %d bytes, %v", len(b), err)
	}
	c, err := os.Stat(at + "/srv/c")
	must(tb, err)
	d, err := os.Stat(at + "/srv/d")
	must(tb, err)
	if !os.SameFile(c, d) {
		tb.Error("a hard link became a copy")
	}
	if u := owner(tb, at+"/etc/motd"); u != 5 {
		tb.Errorf("owner: got %d, want 5", u)
	}
}

func layersTravel(t *testing.T, open func(testing.TB) Opened) {
	a, b := open(t), open(t)
	list := layered(t, a)
	var buf bytes.Buffer
	must(t, a.Send(t.Context(), list[1].Object, zfssync.SendOptions{From: list[1].Origin}, &buf))
	wantErr(t, "a delta before its origin", b.Receive(t.Context(), list[1].Object, Options(list[1], list[1].Origin), &buf), zfssync.ErrOriginMissing)
	for i, s := range list {
		if (s.Origin == "") != (i == 0) || (s.Layer == "") != (i == 0) || s.Format != a.Features().Format {
			t.Errorf("snapshot %d: %+v", i, s)
		}
		n := Move(t, a, b, s, s.Origin)
		if i == 2 && n > 512<<10 {
			t.Errorf("the delta of some bytes is %d long", n)
		}
		if got := newest(t, b, s.Object); got.GUID != s.GUID || got.Origin != s.Origin || got.Layer != s.Layer || got.Base != s.Base {
			t.Errorf("arrived as %+v, sent %+v", got, s)
		}
	}
	must(t, b.PutImage(t.Context(), zfssync.Image{Key: Key(30), Top: Key(3)}))
	at, err := b.Clone(t.Context(), Key(30), UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantLayered(t, at)
	l, err := b.List(t.Context())
	if err != nil || len(l.Leftovers) != 0 || len(l.Layers) != 3 {
		t.Errorf("got %+v, %v", l, err)
	}
	// And on, from there.
	c := open(t)
	for _, s := range list {
		Move(t, b, c, newest(t, b, s.Object), s.Origin)
	}
	if !c.HasLayer(Key(3)) {
		t.Error("a layer that came from elsewhere does not travel on")
	}
	// A host that made the base by itself has it with a content of its own, and takes the chain all the same.
	d := open(t)
	BaseImage(t, d, 1)
	for _, s := range list {
		Move(t, a, d, s, s.Origin)
	}
	must(t, d.PutImage(t.Context(), zfssync.Image{Key: Key(30), Top: Key(3)}))
	at, err = d.Clone(t.Context(), Key(30), UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantLayered(t, at)
}

func volumesTravel(t *testing.T, open func(testing.TB) Opened) {
	a, b := open(t), open(t)
	v := zfssync.Object{Kind: zfssync.KindVolume, Name: "v"}
	vol, err := a.Volume(t.Context(), "v", 0)
	must(t, err)
	write(t, vol+"/x", "1")
	must(t, os.WriteFile(vol+"/big", make2(1<<20), 0o600))
	must(t, mkfifo(vol+"/fifo"))
	one, err := a.TakeSnapshot(t.Context(), v, "one")
	must(t, err)
	Move(t, a, b, one, "")
	vol2, err := b.Volume(t.Context(), "v", 0)
	must(t, err)
	wantFile(t, vol2+"/x", "1")
	if info, err := os.Lstat(vol2 + "/fifo"); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("fifo: %v, %v", info, err)
	}
	write(t, vol2+"/astray", "written at the other place meanwhile: gone with the next stream")
	write(t, vol+"/x", "2")
	must(t, os.Remove(vol+"/fifo"))
	two, err := a.TakeSnapshot(t.Context(), v, "two")
	must(t, err)
	from := ""
	if a.Features().Increments {
		from = one.GUID
	}
	n := Move(t, a, b, two, from)
	if from != "" && n > 512<<10 {
		t.Errorf("the increment of some bytes is %d long", n)
	}
	vol2, err = b.Volume(t.Context(), "v", 0)
	must(t, err)
	wantFile(t, vol2+"/x", "2")
	wantGone(t, vol2+"/fifo")
	wantGone(t, vol2+"/astray")
	list, err := b.Snapshots(t.Context(), v)
	if err != nil || len(list) != 2 || list[0].GUID != one.GUID || list[1].GUID != two.GUID {
		t.Errorf("got %+v, %v", list, err)
	}
	must(t, b.Rollback(t.Context(), v, "one", zfssync.RollbackOptions{DropLater: true}))
	vol2, err = b.Volume(t.Context(), "v", 0)
	must(t, err)
	wantFile(t, vol2+"/x", "1")
	must(t, b.DropSnapshot(t.Context(), v, "one"))
	wantFile(t, vol2+"/x", "1")
	must(t, b.DestroyVolume(t.Context(), "v"))
}

func jailsTravel(t *testing.T, open func(testing.TB) Opened) {
	a, b := open(t), open(t)
	j := zfssync.Object{Kind: zfssync.KindJail, Name: UUID(1)}
	for _, s := range layered(t, a) {
		Move(t, a, b, s, s.Origin)
	}
	root, err := a.Clone(t.Context(), Key(30), UUID(1), zfssync.CloneOptions{})
	must(t, err)
	must(t, os.Remove(root+"/etc/motd"))
	write(t, root+"/mine", "mine")
	must(t, a.Unmount(t.Context(), UUID(1)))
	snap, err := a.TakeSnapshot(t.Context(), j, "move")
	must(t, err)
	if snap.Layer != Key(3) || snap.Image != Key(30) || snap.Origin == "" {
		t.Errorf("snapshot of a jail: %+v", snap)
	}
	if n := Move(t, a, b, snap, snap.Origin); n > 512<<10 {
		t.Errorf("the delta of some bytes is %d long", n)
	}
	must(t, b.PutImage(t.Context(), zfssync.Image{Key: Key(30), Top: Key(3)}))
	root, err = b.Clone(t.Context(), Key(30), UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantFile(t, root+"/mine", "mine")
	wantGone(t, root+"/etc/motd")
	wantFile(t, root+"/srv/c", "c")
	other := snap
	other.GUID, other.Name = "12345", "other"
	if err := b.Receive(t.Context(), j, Options(other, snap.Origin), bytes.NewReader(nil)); err == nil {
		t.Error("a stream onto a mounted jail was taken")
	}
	// What it stands on stays, though no image names it.
	if _, err := b.Sweep(t.Context(), zfssync.Keep{AllJails: true, Images: []string{}}); err != nil {
		t.Error(err)
	}
	if !b.HasLayer(Key(3)) {
		t.Error("the layers of a jail were swept")
	}
}

func badStreams(t *testing.T, open func(testing.TB) Opened) {
	a, b := open(t), open(t)
	list := layered(t, a)
	Move(t, a, b, list[0], "")
	var buf bytes.Buffer
	must(t, a.Send(t.Context(), list[1].Object, zfssync.SendOptions{From: list[1].Origin}, &buf))
	whole := buf.Bytes()
	cut := errors.New("the cable is cut")
	for _, n := range []int{0, 1, 100, 311, 600, len(whole) / 2, len(whole) - 1} {
		r := io.MultiReader(bytes.NewReader(whole[:n]), failing{cut})
		err := b.Receive(t.Context(), list[1].Object, Options(list[1], list[1].Origin), r)
		wantErr(t, "a stream that is cut", err, cut)
	}
	junk := make2(100 << 10)
	wrong := list[1]
	wrong.GUID = "42"
	for what, err := range map[string]error{
		"junk":       b.Receive(t.Context(), list[1].Object, Options(list[1], list[1].Origin), bytes.NewReader(junk)),
		"empty":      b.Receive(t.Context(), list[1].Object, Options(list[1], list[1].Origin), bytes.NewReader(nil)),
		"wrong guid": b.Receive(t.Context(), list[1].Object, Options(wrong, list[1].Origin), bytes.NewReader(whole)),
		"no format":  b.Receive(t.Context(), list[1].Object, zfssync.ReceiveOptions{Snapshot: "x", GUID: "1"}, bytes.NewReader(whole)),
	} {
		if err == nil {
			t.Errorf("%s: the stream was taken", what)
		}
	}
	l, err := b.List(t.Context())
	if err != nil || len(l.Layers) != 1 || len(l.Leftovers) != 0 {
		t.Errorf("bad streams left something: %+v, %v", l, err)
	}
	Move(t, a, b, list[1], list[1].Origin)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func crashes(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	base := BaseImage(t, s, 1)
	_, err := s.Clone(t.Context(), base, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	_, err = s.Clone(t.Context(), base, UUID(2), zfssync.CloneOptions{})
	must(t, err)
	_, err = s.Volume(t.Context(), "keep", 0)
	must(t, err)
	b, err := s.BeginStep(t.Context(), base, Key(7), zfssync.IDMap{})
	must(t, err)
	write(t, b.Root()+"/half", "") // the daemon dies here
	s = s.Reopen()
	if l, err := s.List(t.Context()); err != nil || len(l.Leftovers) != 1 || len(l.Clones) != 2 {
		t.Fatalf("before the sweep: %+v, %v", l, err)
	}
	for i := range 2 {
		removed, err := s.Sweep(t.Context(), zfssync.Keep{Jails: []string{UUID(1)}})
		if err != nil || len(removed) != 2-2*i {
			t.Errorf("sweep %d: %v, %v", i, removed, err)
		}
	}
	l, err := s.List(t.Context())
	if err != nil || len(l.Leftovers) != 0 || len(l.Clones) != 1 || !l.Clones[0].Mounted || len(l.Volumes) != 1 || len(l.Images) != 1 {
		t.Errorf("after the sweep: %+v, %v", l, err)
	}
	wantGone(t, b.Root()+"/half")
}

func restart(t *testing.T, open func(testing.TB) Opened) {
	s := open(t)
	img := BaseImage(t, s, 1)
	root, err := s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	write(t, root+"/x", "x")
	vol, err := s.Volume(t.Context(), "v", 0)
	must(t, err)
	write(t, vol+"/y", "y")
	snap, err := s.TakeSnapshot(t.Context(), zfssync.Object{Kind: zfssync.KindVolume, Name: "v"}, "one")
	must(t, err)
	s = s.Reopen()
	wantFile(t, root+"/x", "x") // the jail runs on
	must(t, s.Teardown(t.Context()))
	wantGone(t, root+"/x")
	s = s.Reopen()
	if !s.HasImage(img) || !s.HasLayer(img) {
		t.Fatal("the image is gone")
	}
	root, err = s.Clone(t.Context(), img, UUID(1), zfssync.CloneOptions{})
	must(t, err)
	wantFile(t, root+"/x", "x")
	vol, err = s.Volume(t.Context(), "v", 0)
	must(t, err)
	wantFile(t, vol+"/y", "y")
	if got := newest(t, s, snap.Object); got.GUID != snap.GUID {
		t.Errorf("snapshot: got %+v, want %+v", got, snap)
	}
}
