package zfssync

import (
	"os"
	"testing"
)

func TestHostBaseHidesTheStoreAndWhatPeopleOwn(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"descriptors", "old kernel"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			secret := t.TempDir()
			o := openStore(t, func(c *Config) { c.Hide = []string{secret} })
			if way == "old kernel" {
				o.feat.LayerFDs, o.attach = false, true
			}
			testHostBase(t, o, secret)
		})
	}
}

func testHostBase(t *testing.T, o *Overlay, secret string) {
	if err := o.Base(t.Context(), "host:/", testKey(1), nil); err != nil {
		t.Fatal(err)
	}
	opt := CloneOptions{Volatile: true}
	if o.Features().IDMap {
		opt.IDMap = testIDs(0)
	}
	b, err := o.BeginStep(t.Context(), testKey(1), testKey(2), opt.IDMap)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.Root()+"/step", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.PutImage(t.Context(), Image{Key: testKey(2), Top: testKey(2)}); err != nil {
		t.Fatal(err)
	}
	root, err := o.Clone(t.Context(), testKey(2), testUUID(1), opt)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, root+"/step", "x")
	if _, err := os.Stat(root + "/etc/passwd"); err != nil {
		t.Error(err)
	}
	for _, p := range []string{"/", "/etc", "/var", "/etc/passwd"} {
		if got := owner(t, root+p); got != opt.IDMap.HostBase {
			t.Errorf("%s belongs to %d, want %d", p, got, opt.IDMap.HostBase)
		}
	}
	for _, p := range []string{o.dir, secret} {
		if _, err := os.Stat(root + p); !os.IsNotExist(err) {
			t.Errorf("%s can be seen: %v", p, err)
		}
	}
	if e, err := os.ReadDir(root + "/root"); err != nil || len(e) != 0 {
		t.Errorf("/root: got %v, %v, want nothing", e, err)
	}
	if err := o.Destroy(t.Context(), testUUID(1)); err != nil {
		t.Fatal(err)
	}
	noMountsBelow(t, o.dir)
}
