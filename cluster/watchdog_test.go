package cluster

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// Case 9 of the failure list. raft itself waits in the hung write, keeps
// leadership and never fails over (measured), so the process must end.
func TestCase09AHungDiskEndsTheProcess(t *testing.T) {
	testenv.RequireRoot(t)
	for _, tool := range []string{"mkfs.ext4", "fsfreeze", "mount", "umount"} {
		testenv.RequireTool(t, tool)
	}
	dir := loopDisk(t)
	died := make(chan error, 1)
	n := open(t, dir, func(c *Config) {
		c.HangLimit = 300 * time.Millisecond
		c.Fatal = func(err error) { died <- err }
	})
	fill(t, n, 3)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, n.Close()); err != nil {
			t.Error(err)
		}
	}()

	tool(t, "fsfreeze", "--freeze", dir)
	defer tool(t, "fsfreeze", "--unfreeze", dir)
	select {
	case err := <-died:
		t.Logf("ended: %v", err)
	case <-time.After(10 * time.Second):
		t.Error("the watchdog said nothing for 10 s while the disk was frozen")
	}
}

// loopDisk is a small file system of the test's own.
func loopDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, at := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	tool(t, "truncate", "--size", "32M", image)
	tool(t, "mkfs.ext4", "-q", "-F", image)
	tool(t, "mkdir", at)
	tool(t, "mount", "-o", "loop", image, at)
	// Lazily: the write that hung, which nobody waits for, may still hold a file open.
	t.Cleanup(func() { tool(t, "umount", "--lazy", at) })
	return at
}

func tool(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}
