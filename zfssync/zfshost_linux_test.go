package zfssync_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/zfstest"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/storetest"
)

// TestAHostBaseOnZFSLeavesOutWhatIsNobodysBusiness: the host's root is copied, without what runs, what people own, and what is
// the daemon's.
func TestAHostBaseOnZFSLeavesOutWhatIsNobodysBusiness(t *testing.T) {
	if !zfstest.Isolated(t) {
		return
	}
	host := t.TempDir()
	keys, dir := filepath.Join(host, "etc/rexcarcer"), filepath.Join(host, "var/lib/rexcarcer")
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/rexcarcer/ca.key": "secret", "bin/su": "#!", "home/ann/diary": "secret", "root/.ssh/id": "secret",
		"run/lock": "x", "tmp/x": "x", "var/tmp/x": "x", "var/log/auth.log": "secret", "var/lib/dpkg/status": "installed\n", "var/lib/rexcarcer/old": "x",
	} {
		p := filepath.Join(host, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Chmod(host+"/bin/su", 0o755|os.ModeSetuid), os.Lchown(host+"/var/lib/dpkg/status", 33, 34), os.Symlink("bin", host+"/sbin"),
		os.Chmod(host+"/tmp", 0o1777|os.ModeSticky), os.Chmod(host+"/root", 0o700), syscall.Mkfifo(host+"/bin/fifo", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	pool := zfstest.Pool(t, 128<<20)
	s := opened(t, func() (zfssync.Store, error) {
		return zfssync.OpenZFS(context.Background(), zfssync.Config{
			Dir: dir, Dataset: pool + "/rex", Instance: "test", Runner: run.Real{}, Hide: []string{keys},
		})
	})
	zfssync.CopyHostFrom(s.Store, host)
	for range 2 {
		if err := s.Base(t.Context(), "host:/", storetest.Key(1), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutImage(t.Context(), zfssync.Image{Key: storetest.Key(9), Top: storetest.Key(1), Base: "host:/"}); err != nil {
		t.Fatal(err)
	}
	root, err := s.Clone(t.Context(), storetest.Key(9), storetest.UUID(1), zfssync.CloneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "sbin/su": "#!", "var/lib/dpkg/status": "installed\n"} {
		if b, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for _, name := range []string{"etc/rexcarcer", "home/ann", "root/.ssh", "run/lock", "tmp/x", "var/tmp/x", "var/log/auth.log", "var/lib/rexcarcer"} {
		if _, err := os.Lstat(filepath.Join(root, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is in the base: %v", name, err)
		}
	}
	for name, want := range map[string]os.FileMode{
		"bin/su": 0o755 | os.ModeSetuid, "tmp": 0o777 | os.ModeSticky | os.ModeDir, "root": 0o700 | os.ModeDir, "var/tmp": 0o755 | os.ModeDir,
	} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	info, err := os.Stat(filepath.Join(root, "var/lib/dpkg/status"))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 33 {
		t.Errorf("owner: %+v, %v", info, err)
	}
	layer, err := s.Layer(storetest.Key(1))
	if err != nil || layer.Base != "host:/" {
		t.Errorf("layer: %+v, %v", layer, err)
	}
}
