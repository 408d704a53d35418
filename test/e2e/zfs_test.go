//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/zfstest"
)

// TestZFS: a jail runs on datasets of a real pool, by zfs-fuse.
func TestZFS(t *testing.T) {
	if !zfstest.Isolated(t) {
		return
	}
	pool := zfstest.Pool(t, 256<<20)
	h := newHost(t, "-dev", "-storage", "zfs:"+pool+"/rex")
	h.start(t)
	rex := h.write(t, "app.rex", "BASE "+base+"\nRUN echo built >/built\n")
	hcl := h.write(t, "app.hcl", `cluster "c" {}
image "app" { rexfile = "`+filepath.Base(rex)+`" }
jail "app" {
  image   = "app"
  network = "none"
  command = ["sleep", "100000"]
  volume "data" {
    path  = "/data"
    quota = "8M"
  }
}
`)
	h.must(t, "apply", "--yes", "--wait=healthy", hcl)
	if got := h.must(t, "exec", "app", "--", "cat", "/built"); got != "built\n" {
		t.Errorf("in the jail: %q", got)
	}
	if r := h.ctl("exec", "app", "--", "sh", "-c", "dd if=/dev/urandom of=/data/big bs=1M count=20"); r.code == 0 {
		t.Errorf("20 MiB went into a quota of 8: %s", r)
	}
	if show := h.must(t, "host", "show", "-o", "json", hostName(t, h)); !strings.Contains(show, `"storage": "zfs"`) {
		t.Errorf("host show does not tell the storage: %s", show)
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || !strings.Contains(string(b), pool+"/rex/jail/") {
		t.Errorf("the jail's root is no dataset: %v\n%s", err, b)
	}
	h.must(t, "destroy", "--yes", hcl)
}

// hostName is the name of the only host.
func hostName(t *testing.T, h *host) string {
	t.Helper()
	return strings.TrimSpace(h.must(t, "host", "ls", "-o", "name"))
}
