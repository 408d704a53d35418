package zfssync

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// treeOf is all that a snapshot keeps of a tree, as text.
func treeOf(tb testing.TB, dir string) string {
	tb.Helper()
	var b strings.Builder
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%s %v %d:%d", name, info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(path)
			fmt.Fprintf(&b, " -> %s", to)
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %x %d", len(content), sha256.Sum256(content), info.ModTime().UnixNano())
			if at, ok := first[st.Ino]; ok {
				fmt.Fprintf(&b, " is %s", at)
			} else {
				first[st.Ino] = name
			}
		case info.IsDir():
			fmt.Fprintf(&b, " %d", info.ModTime().UnixNano())
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// disturb does one thing to a tree that users do to volumes. What cannot be
// done on what is there is left undone.
func disturb(r *rand.Rand, dir string) {
	names := []string{"a", "b", "c", "d", "a/x", "a/y", "b/x", "b/y", "c/deep/z", "d/z"}
	at, other := filepath.Join(dir, names[r.IntN(len(names))]), filepath.Join(dir, names[r.IntN(len(names))])
	_ = os.MkdirAll(filepath.Dir(at), 0o755)
	if info, err := os.Stat(at); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		_ = os.Remove(at) // opening it would wait for a reader
	}
	switch r.IntN(12) {
	case 0, 1:
		_ = os.WriteFile(at, fmt.Appendf(nil, "content %d", r.IntN(4)), 0o644)
	case 2: // changed in place, with the old time and size: only ctime tells
		if info, err := os.Lstat(at); err == nil && info.Mode().IsRegular() {
			_ = os.WriteFile(at, bytes.Repeat([]byte{byte(r.IntN(255))}, int(info.Size())), 0o644)
			_ = os.Chtimes(at, info.ModTime(), info.ModTime())
		}
	case 3:
		// RemoveAll opens the directory of what it removes; a pipe there would
		// never open.
		if info, err := os.Stat(filepath.Dir(at)); err == nil && info.IsDir() {
			_ = os.RemoveAll(at)
		}
	case 4:
		_ = os.Mkdir(at, 0o755)
	case 5: // two trees change places: the files in them do not
		_ = os.Rename(at, other+".aside")
		_ = os.Rename(other, at)
		_ = os.Rename(other+".aside", other)
	case 6:
		_ = os.Link(at, other)
	case 7:
		_ = os.Symlink("a/x", at)
	case 8:
		_ = os.Chmod(at, fs.FileMode(0o600+r.IntN(0o177)))
	case 9:
		_ = os.Lchown(at, r.IntN(3), r.IntN(3))
	case 10:
		_ = syscall.Mkfifo(at, 0o600)
	case 11:
		same := time.Unix(1_700_000_000, 0) // a time that many files have
		if info, err := os.Lstat(at); err == nil && info.Mode().IsRegular() {
			_ = os.Chtimes(at, same, same)
		}
	}
}

// TestWhatChangedBetweenTwoSnapshotsIsAllThatTravels: whatever happens to a
// volume between two snapshots that travel, the difference makes of the first
// one, on another host, exactly the second; and nobody's files are shared with
// a volume that is written to.
func TestWhatChangedBetweenTwoSnapshotsIsAllThatTravels(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	here, there := openStore(t), openStore(t)
	here.margin = 60 * time.Millisecond
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	linked := 0
	for round := range 15 {
		id := VolumeID(fmt.Sprintf("w.j.v%d", round))
		obj := Object{KindVolume, string(id)}
		live, err := here.Volume(ctx, id, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 15 + r.IntN(10) {
			disturb(r, live)
		}
		if r.IntN(3) > 0 { // else all of it is too young to be trusted
			<-time.After(2 * here.margin)
		}
		take := func(name string) Snapshot {
			s, err := here.TakeSnapshot(ctx, obj, name)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		one := take("sync-1")
		was := treeOf(t, live)
		for range r.IntN(6) {
			disturb(r, live)
		}
		two := take("sync-2")
		if two.Over != one.GUID {
			t.Fatalf("the second snapshot is over %q, want %s", two.Over, one.GUID)
		}
		whole, delta := carry(t, here, there, one, ""), carry(t, here, there, two, one.GUID)
		if delta < whole {
			linked++
		}
		wantTree(t, "the first snapshot here", filepath.Join(here.snap(obj, "sync-1"), "data"), was)
		wantTree(t, "the second snapshot here", filepath.Join(here.snap(obj, "sync-2"), "data"), treeOf(t, live))
		wantTree(t, "the first snapshot there", filepath.Join(there.snap(obj, "sync-1"), "data"), was)
		wantTree(t, "the second snapshot there", filepath.Join(there.snap(obj, "sync-2"), "data"), treeOf(t, live))
		settleThere(t, there, obj, r.IntN(2) == 0, treeOf(t, live), was)
	}
	if linked < 3 {
		t.Errorf("only %d of 15 differences were smaller than the whole", linked)
	}
}

// settleThere makes the second snapshot the volume, before the first one goes
// or after it, and writes to it.
func settleThere(t *testing.T, s *Overlay, obj Object, keepFirst bool, want, first string) {
	t.Helper()
	drop := func(name string) {
		if err := s.DropSnapshot(t.Context(), obj, name); err != nil {
			t.Fatal(err)
		}
	}
	if !keepFirst {
		drop("sync-1")
	}
	drop("sync-2")
	live, err := s.Volume(t.Context(), VolumeID(obj.Name), 0)
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, "the volume there", live, want)
	if shared, err := shares(live); err != nil || shared {
		t.Errorf("the volume shares files with a snapshot: %v, %v", shared, err)
	}
	if keepFirst {
		wantTree(t, "the first snapshot there, afterwards", filepath.Join(s.snap(obj, "sync-1"), "data"), first)
	}
}

func wantTree(t *testing.T, what, dir, want string) {
	t.Helper()
	if got := treeOf(t, dir); got != want {
		t.Fatalf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

// carry moves one snapshot from a to b, and returns the length of its stream.
func carry(t *testing.T, a, b *Overlay, s Snapshot, from string) int {
	t.Helper()
	var stream bytes.Buffer
	if err := a.Send(t.Context(), s.Object, SendOptions{Snapshot: s.Name, From: from}, &stream); err != nil {
		t.Fatal(err)
	}
	n := stream.Len()
	err := b.Receive(t.Context(), s.Object, ReceiveOptions{Format: s.Format, Snapshot: s.Name, GUID: s.GUID, From: from, Devices: true}, &stream)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
