package zfssync

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// diskStore is an overlay store that keeps quotas.
func diskStore(t *testing.T) *Overlay {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "mkfs.ext4")
	o := openDisks(t, filepath.Join(t.TempDir(), "store"))
	t.Cleanup(func() {
		if err := errors.Join(o.Teardown(context.Background()), o.Close()); err != nil {
			t.Error(err)
		}
	})
	return o
}

func openDisks(t *testing.T, dir string) *Overlay {
	t.Helper()
	s, err := OpenOverlay(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if f := s.Features(); !f.Quota {
		t.Fatalf("no quotas: %s", f.QuotaReason)
	}
	return s.(*Overlay)
}

func wantVolume(t *testing.T, o *Overlay, quota int64) string {
	t.Helper()
	data, err := o.Volume(t.Context(), "v", quota)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// room is how many bytes fit into one new file of a directory.
func room(t *testing.T, dir string) int64 {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "room"))
	if err != nil {
		t.Fatal(err)
	}
	block, total := bytes.Repeat([]byte("x"), 1<<16), int64(0)
	for {
		n, err := f.Write(block)
		if total += int64(n); errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		t.Fatal(err)
	}
	return total
}

func TestAQuotaHolds(t *testing.T) {
	t.Parallel()
	o := diskStore(t)
	for _, quota := range []int64{1 << 20, 8 << 20, 64 << 20, 16 << 20, 100 << 20} { // it grows and shrinks
		got := room(t, wantVolume(t, o, quota))
		if most := quota + quota/16 + 4<<20; got < quota || got > most {
			t.Errorf("%d bytes fit into a quota of %d, want at most %d", got, quota, most)
		}
		// A child that is just being started for another test may have the removed file open for a moment.
		info, err := o.VolumeInfo(t.Context(), "v")
		for end := time.Now().Add(30 * time.Second); err == nil && info.Bytes > 1<<20 && time.Now().Before(end); <-time.After(5 * time.Millisecond) {
			info, err = o.VolumeInfo(t.Context(), "v")
		}
		if err != nil || info.QuotaBytes != quota || !info.QuotaKept || info.Bytes < 0 || info.Bytes > 1<<20 {
			t.Errorf("info: %+v, %v", info, err)
		}
	}
}

func TestAChangedQuotaKeepsTheContent(t *testing.T) {
	t.Parallel()
	o := diskStore(t)
	if err := os.WriteFile(wantVolume(t, o, 0)+"/x", make([]byte, 3<<20), 0o640); err != nil {
		t.Fatal(err)
	}
	before := treeOf(t, wantVolume(t, o, 0))
	for _, quota := range []int64{8 << 20, 32 << 20, 4 << 20, 0, 4 << 20, 0} {
		if got := treeOf(t, wantVolume(t, o, quota)); got != before {
			t.Errorf("with a quota of %d it is\n%s\nwant\n%s", quota, got, before)
		}
	}
	wantVolume(t, o, 32<<20)
	if err := os.WriteFile(wantVolume(t, o, 32<<20)+"/y", make([]byte, 8<<20), 0o640); err != nil {
		t.Fatal(err)
	}
	before = treeOf(t, wantVolume(t, o, 32<<20))
	_, err := o.Volume(t.Context(), "v", 4<<20)
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "raise the quota") {
		t.Errorf("a quota below what it holds: %v", err)
	}
	if got := treeOf(t, wantVolume(t, o, 32<<20)); got != before {
		t.Errorf("after a quota that was refused it is\n%s\nwant\n%s", got, before)
	}
	wantNoLeftovers(t, o)
}

func wantNoLeftovers(t *testing.T, o *Overlay) {
	t.Helper()
	l, err := o.List(t.Context())
	if err != nil || len(l.Leftovers) > 0 {
		t.Errorf("leftovers: %q, %v", l.Leftovers, err)
	}
}

func TestAQuotaThatTheDiskHasNoRoomFor(t *testing.T) {
	t.Parallel()
	o := diskStore(t)
	if err := os.WriteFile(wantVolume(t, o, 4<<20)+"/x", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(o.dir, &fs); err != nil {
		t.Fatal(err)
	}
	for _, quota := range []int64{2 * int64(fs.Bavail) * fs.Bsize, 1 << 50} {
		if _, err := o.Volume(t.Context(), "v", quota); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "make the quota smaller") {
			t.Errorf("a quota of %d: %v", quota, err)
		}
	}
	if _, err := os.Stat(wantVolume(t, o, 4<<20) + "/x"); err != nil {
		t.Error(err)
	}
	wantNoLeftovers(t, o)
}

func TestSnapshotsOfAVolumeWithAQuota(t *testing.T) {
	t.Parallel()
	o := diskStore(t)
	obj := Object{KindVolume, "v"}
	data := wantVolume(t, o, 8<<20)
	if err := os.WriteFile(data+"/x", []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := treeOf(t, data)
	if err := o.Teardown(t.Context()); err != nil { // as after a reboot
		t.Fatal(err)
	}
	if _, err := o.TakeSnapshot(t.Context(), obj, "s"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(wantVolume(t, o, 8<<20)+"/x", []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Rollback(t.Context(), obj, "s", RollbackOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := treeOf(t, wantVolume(t, o, 8<<20)); got != before {
		t.Errorf("rolled back it is\n%s\nwant\n%s", got, before)
	}
	if got := room(t, wantVolume(t, o, 8<<20)); got > 12<<20 {
		t.Errorf("rolled back it has room for %d bytes", got)
	}
	var stream bytes.Buffer
	if err := o.Send(t.Context(), obj, SendOptions{Snapshot: "s"}, &stream); err != nil {
		t.Fatal(err)
	}
	there := diskStore(t)
	err := there.Receive(t.Context(), obj, ReceiveOptions{Snapshot: "s", GUID: "g", QuotaBytes: 8 << 20, Format: FormatTar}, &stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := there.DropSnapshot(t.Context(), obj, "s"); err != nil {
		t.Fatal(err)
	}
	if got := treeOf(t, wantVolume(t, there, 8<<20)); got != before || !there.hasDisk("v") {
		t.Errorf("on the other host it is\n%s\nwant\n%s", got, before)
	}
}

// TestABoundVolumeIsNeverTwo: a disk that somebody unmounted while a jail has it is the same file system when it is mounted again.
func TestABoundVolumeIsNeverTwo(t *testing.T) {
	t.Parallel()
	o := diskStore(t)
	data := wantVolume(t, o, 8<<20)
	at, err := o.Bind(t.Context(), testUUID(1), "data", data, BindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(o.mnt("v"), unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := o.DestroyVolume(t.Context(), "v"); !errors.Is(err, ErrInUse) {
		t.Errorf("destroy: %v", err)
	}
	if err := os.WriteFile(at+"/x", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, quota := range []int64{8 << 20, 16 << 20, 4 << 20, 0} {
		if b, err := os.ReadFile(wantVolume(t, o, quota) + "/x"); err != nil || string(b) != "x" {
			t.Errorf("with a quota of %d: %q, %v", quota, b, err)
		}
	}
	if got := room(t, at); got < 8<<20 { // it may have grown while it was bound, and shrinks when nobody has it
		t.Errorf("room for %d", got)
	}
	if err := o.Unmount(t.Context(), testUUID(1)); err != nil {
		t.Fatal(err)
	}
	if got := room(t, wantVolume(t, o, 4<<20)); got > 9<<20 {
		t.Errorf("unbound: room for %d", got)
	}
	if err := o.DestroyVolume(t.Context(), "v"); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedDiskIsListedAndRemoved(t *testing.T) {
	t.Parallel()
	o := diskStore(t)
	wantVolume(t, o, 4<<20)
	if err := errors.Join(o.Teardown(t.Context()), os.WriteFile(o.disk("v"), make([]byte, 1<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	if info, err := o.VolumeInfo(t.Context(), "v"); err != nil || info.Bytes != -1 || info.QuotaBytes != 4<<20 {
		t.Errorf("info: %+v, %v", info, err)
	}
	if _, err := o.Volume(t.Context(), "v", 4<<20); err == nil || !strings.Contains(err.Error(), "fsck.ext4") {
		t.Errorf("a damaged disk: %v", err)
	}
	if err := o.DestroyVolume(t.Context(), "v"); err != nil {
		t.Fatal(err)
	}
}

// TestADiskThatDiesHalfMade: at whatever point the daemon dies, the same call then gives the same content.
func TestADiskThatDiesHalfMade(t *testing.T) {
	t.Parallel()
	o := diskStore(t)
	seen := map[string]bool{}
	died := errors.New("died")
	for _, step := range []struct{ from, to int64 }{{0, 4 << 20}, {4 << 20, 16 << 20}, {16 << 20, 4 << 20}, {4 << 20, 0}} {
		for _, at := range []string{"disk made", "disk in place", "disk longer", "directory in place"} {
			if err := os.WriteFile(wantVolume(t, o, step.from)+"/x", []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			o.fail = func(point string) error {
				if point == at {
					seen[at] = true
					return died
				}
				return nil
			}
			if _, err := o.Volume(t.Context(), "v", step.to); err != nil && !errors.Is(err, died) {
				t.Errorf("%s: %v", at, err)
			}
			o.fail = nil
			for range 2 {
				if b, err := os.ReadFile(wantVolume(t, o, step.to) + "/x"); err != nil || string(b) != "x" {
					t.Errorf("from %d to %d, died at %q: %q, %v", step.from, step.to, at, b, err)
				}
			}
			if err := o.DestroyVolume(t.Context(), "v"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("died only at %v", seen)
	}
	wantNoLeftovers(t, o)
}
