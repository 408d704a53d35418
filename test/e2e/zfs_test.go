//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
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

// TestAJailMovesOnZFS: the second copy is the difference over the first, and
// the user's snapshot goes along.
func TestAJailMovesOnZFS(t *testing.T) {
	if !zfstest.Isolated(t) {
		return
	}
	pool := zfstest.Pool(t, 384<<20)
	a, addr := member(t, "left")
	a.flags = append(a.flags, "-storage", "zfs:"+pool+"/left")
	b, _ := member(t, "right")
	b.flags = append(b.flags, "-storage", "zfs:"+pool+"/right")
	pairUp(t, a, addr, b, "right")
	keeper(t, a, "moving", "mark-zfs", "")
	from := a.ps(t)["db"].Host
	a.must(t, "exec", "db", "--", "sh", "-c", "head -c 3000000 /dev/urandom >/data/big; echo note >/data/note")
	a.must(t, "volume", "snapshot", "moving.db.data@kept", "--host", from)
	sum := a.must(t, "exec", "db", "--", "sha256sum", "/data/big", "/data/note")
	for range 2 {
		to := map[string]string{"left": "right", "right": "left"}[from]
		t.Logf("%s", a.must(t, "jail", "move", "db", "--to", to))
		if got := a.must(t, "exec", "db", "--", "sha256sum", "/data/big", "/data/note"); got != sum {
			t.Errorf("the data are %q, were %q", got, sum)
		}
		poll(t, time.Minute, "both hosts have tidied up", func() error {
			if m, err := lastMove(a, "db"); err != nil || !m.Clean {
				return fmt.Errorf("%+v, %v", m, err)
			}
			return nil
		})
		if got := volumesOn(t, a, from); len(got) != 0 {
			t.Errorf("%s still has the volumes %v", from, got)
		}
		show := decode[api.VolumeShow](t, a, "volume", "show", "moving.db.data", "--host", to)
		if len(show.Snapshot) != 1 || show.Snapshot[0].Name != "kept" {
			t.Errorf("the volume there is %+v, want it with its snapshot and no other", show)
		}
		from = to
	}
	a.destroy(t, "moving")
}
