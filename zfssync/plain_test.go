package zfssync

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	plainUUID = "6f2a1c00-aaaa-4bbb-8ccc-0123456789ab"
	otherUUID = "6f2a1c00-aaaa-4bbb-8ccc-0123456789ac"
)

func plainKey(c string) string { return keyPrefix + strings.Repeat(c, 64) }

// newPlain is a store with the image b above the base a, which holds /bin/sh, and /made by the step.
func newPlain(t *testing.T) *Plain {
	t.Helper()
	base := t.TempDir()
	for _, f := range []string{"bin/sh", "etc/rc.conf"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(base, filepath.Dir(f)), 0o755), os.WriteFile(filepath.Join(base, f), []byte(f), 0o755)); err != nil { //nolint:gosec // programs
			t.Fatal(err)
		}
	}
	p, err := OpenPlain(Config{Dir: filepath.Join(t.TempDir(), "storage")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	ctx := t.Context()
	for range 2 {
		if err := p.Base(ctx, base, plainKey("a"), nil); err != nil {
			t.Fatal(err)
		}
	}
	b, err := p.BeginStep(ctx, plainKey("a"), plainKey("b"), IDMap{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(b.Root(), "made"), nil, 0o600), b.Commit(ctx), b.Abort()); err != nil {
		t.Fatal(err)
	}
	if err := p.PutImage(ctx, Image{Key: plainKey("c"), Top: plainKey("b"), Command: []string{"/bin/sh"}}); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlainClonesAreCopiesThatStay(t *testing.T) {
	t.Parallel()
	p, ctx := newPlain(t), t.Context()
	root, err := p.Clone(ctx, plainKey("c"), plainUUID, CloneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"bin/sh", "made"} {
		if _, err := os.Stat(filepath.Join(root, f)); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "written"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Unmount(ctx, plainUUID); err != nil {
		t.Fatal(err)
	}
	again, err := p.Clone(ctx, plainKey("c"), plainUUID, CloneOptions{})
	if _, serr := os.Stat(filepath.Join(again, "written")); err != nil || serr != nil || again != root {
		t.Errorf("again: %s, %v, %v", again, err, serr)
	}
	if _, err := p.Clone(ctx, plainKey("c"), plainUUID, CloneOptions{Volatile: true}); !errors.Is(err, ErrInUse) {
		t.Errorf("with other options: %v", err)
	}
	if err := p.RemoveImage(ctx, plainKey("c")); !errors.Is(err, ErrInUse) {
		t.Errorf("image with a clone: %v", err)
	}
	volatile, err := p.Clone(ctx, plainKey("c"), otherUUID, CloneOptions{Volatile: true})
	if err != nil || p.Unmount(ctx, otherUUID) != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(volatile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a volatile clone stayed: %v", err)
	}
}

func TestPlainSweepLeavesWhatIsWanted(t *testing.T) {
	t.Parallel()
	p, ctx := newPlain(t), t.Context()
	for _, uuid := range []string{plainUUID, otherUUID} {
		if _, err := p.Clone(ctx, plainKey("c"), uuid, CloneOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(p.staging(), "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	removed, err := p.Sweep(ctx, Keep{Jails: []string{plainUUID}})
	if err != nil || strings.Join(removed, ",") != "staging/half,jail "+otherUUID {
		t.Errorf("got %q, %v", removed, err)
	}
	if err := errors.Join(p.Destroy(ctx, plainUUID), p.Destroy(ctx, plainUUID), p.RemoveImage(ctx, plainKey("c"))); err != nil {
		t.Fatal(err)
	}
	l, err := p.List(ctx)
	if err != nil || len(l.Images)+len(l.Clones) != 0 || strings.Join(l.Layers, "") != plainKey("a") {
		t.Errorf("got %+v, %v", l, err)
	}
	if _, err := p.Image(plainKey("c")); !errors.Is(err, ErrNotFound) || p.HasImage(plainKey("c")) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Sweep(ctx, Keep{Images: []string{}}); err != nil || p.HasLayer(plainKey("a")) {
		t.Errorf("base is still there, %v", err)
	}
}

func TestPlainVolumesOutliveJailsAndAreNotLostWhileBound(t *testing.T) {
	t.Parallel()
	p, ctx := newPlain(t), t.Context()
	data, err := p.Volume(ctx, "w.web.data", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Clone(ctx, plainKey("c"), plainUUID, CloneOptions{}); err != nil {
		t.Fatal(err)
	}
	if at, err := p.Bind(ctx, plainUUID, "data", data, BindOptions{}); err != nil || at != data {
		t.Errorf("bind: %s, %v", at, err)
	}
	if err := p.DestroyVolume(ctx, "w.web.data"); !errors.Is(err, ErrInUse) {
		t.Errorf("bound: %v", err)
	}
	if info, err := p.VolumeInfo(ctx, "w.web.data"); err != nil || !info.InUse || info.QuotaBytes != 1<<20 {
		t.Errorf("got %+v, %v", info, err)
	}
	if err := errors.Join(p.Unmount(ctx, plainUUID), p.DestroyVolume(ctx, "w.web.data")); err != nil {
		t.Error(err)
	}
	if _, err := p.VolumeInfo(ctx, "w.web.data"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := p.TakeSnapshot(ctx, Object{KindVolume, "x"}, "s"); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "ZFS pool") {
		t.Errorf("got %v", err)
	}
	if _, err := OpenPlain(Config{Dir: p.dir}); err == nil {
		t.Error("two daemons share a store")
	}
}
