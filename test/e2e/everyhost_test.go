//go:build linux

package e2e

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// TestEveryHostIsWorkedOnFromOne: what one host alone can do is done by it, whichever host is asked. The other one is no
// server, so it may not speak for users.
func TestEveryHostIsWorkedOnFromOne(t *testing.T) {
	t.Parallel()
	a, addr := member(t, "near")
	a.start(t)
	token := strings.TrimSpace(a.must(t, "token", "create", "--role", "host", "-q"))
	b, _ := member(t, "far")
	if r := command(t.Context(), "", nil, append([]string{rexcarcer, "join", addr, "-token", token}, b.flags...)...); r.code != 0 {
		t.Fatal(r)
	}
	b.start(t)
	poll(t, time.Minute, "the other host is alive", func() error {
		for _, h := range decode[[]api.HostRow](t, a, "host", "ls") {
			if h.Name == "far" && h.State == "alive" {
				return nil
			}
		}
		return fmt.Errorf("it is not")
	})

	t.Run("a base is sent to it, signed or not", func(t *testing.T) { sendBases(t, a, b) })
	t.Run("it builds, and keeps what a step left", func(t *testing.T) { buildFar(t, a, b) })
	t.Run("its volumes are here", func(t *testing.T) { volumesFar(t, a) })
	t.Run("all collect images", func(t *testing.T) {
		got := decode[api.GCResult](t, a, "image", "gc", "--keep-newest", "0", "--dry-run")
		for _, g := range got.Removed {
			if g.Host != "near" && g.Host != "far" {
				t.Errorf("%+v is on no host", g)
			}
		}
		if r := a.ctl("image", "gc", "--keep-newest", "0", "--yes"); r.code != 0 || !strings.Contains(r.stderr, "near: removed ") || !strings.Contains(r.stderr, "far: removed ") {
			t.Errorf("one report a host: %s", r)
		}
	})
	if r := a.ctl("volume", "ls", "--host", "nowhere"); r.code != 1 || !strings.Contains(r.stderr, "no such host") {
		t.Errorf("a host that is not there: %s", r)
	}
}

// holders are the names of the hosts that have an image.
func holders(t *testing.T, h *host, image string) string {
	t.Helper()
	names := map[string]string{}
	for _, r := range decode[[]api.HostRow](t, h, "host", "ls") {
		names[string(r.ID)] = r.Name
	}
	var out []string
	for _, id := range decode[api.ImageShow](t, h, "image", "show", image).Hosts {
		out = append(out, names[string(id)])
	}
	return strings.Join(out, " ")
}

func sendBases(t *testing.T, a, b *host) {
	archive := filepath.Join(a.dir, "small.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(base)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	a.must(t, "base", "create", archive, "--host", "far")
	if got := holders(t, a, "small"); !strings.Contains(got, "far") {
		t.Errorf("it is on %q", got)
	}
	a.must(t, "base", "create", base, "--host", "far", "-t", "packed") // a directory of this machine
	if r := a.ctl("image", "debug", "packed", "--", "/bin/busybox", "true"); r.code != 0 {
		t.Errorf("debug where the image is: %s", r)
	}
	cert, key := newSigner(t, a.dir, "alice")
	a.must(t, "base", "trust", cert)
	a.must(t, "base", "sign", "packed", "--cert", cert, "--key", key, "--out", a.dir, "--name", "signed") // exported by the host that has it
	payload := filepath.Join(a.dir, "signed.tar.zst")
	content, err := os.ReadFile(payload)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(payload, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := a.ctl("base", "import", filepath.Join(a.dir, "signed"), "--host", "far", "-t", "evil"); r.code == 0 || !strings.Contains(r.stderr, "digest") {
		t.Errorf("a payload that was changed: %s", r)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(payload, content, 0o600); err != nil {
		t.Fatal(err)
	}
	a.must(t, "base", "import", filepath.Join(a.dir, "signed"), "--host", "far", "-t", "imported")
	if show := decode[api.ImageShow](t, a, "image", "show", "imported"); show.SignedBy == "" {
		t.Errorf("nobody has signed %+v", show)
	}
	if left, _ := filepath.Glob(filepath.Join(b.data, "bases", "partial", "*")); len(left) > 0 {
		t.Errorf("the uploads stay: %v", left)
	}
}

func buildFar(t *testing.T, a, b *host) {
	rex := a.write(t, "far.rex", "BASE packed\nCOPY there /there\nRUN cat /there >/built\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(rex), "there"), []byte("from afar\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.must(t, "image", "build", rex, "-t", "farbuilt", "--host", "far")
	if got := holders(t, a, "farbuilt"); !strings.Contains(got, "far") {
		t.Errorf("it was built on %q", got)
	}
	if r := a.ctl("image", "debug", "farbuilt", "--", "/bin/cat", "/built"); r.code != 0 || r.stdout != "from afar\n" {
		t.Errorf("what was built: %s", r)
	}
	bad := a.write(t, "bad.rex", "BASE packed\nRUN echo half >/half; exit 3\n")
	if r := a.ctl("image", "build", bad, "-t", "bad", "--keep", "--host", "far"); r.code != 1 || !strings.Contains(r.stderr, "rexctl image debug bad:failed") {
		t.Errorf("a step that fails there: %s", r)
	}
	if r := a.ctl("image", "debug", "bad:failed", "--", "/bin/cat", "/half"); r.stdout != "half\n" {
		t.Errorf("what it left: %s", r)
	}
	if log, err := os.ReadFile(b.logName()); err != nil || !strings.Contains(string(log), "image built") {
		t.Errorf("the other host has built nothing: %v", err)
	}
}

func volumesFar(t *testing.T, a *host) {
	hcl := a.write(t, "vol.hcl", `cluster "everyhost" {}
image "app" { base = "`+base+`" }
jail "keeper" {
  image   = "app"
  network = "none"
  command = ["/bin/sh", "-c", "echo kept >/data/x; trap 'exit 0' TERM; sleep 100000 & wait"]
  volume "data" { path = "/data" }
  placement { constraint = "host == far" }
}
`)
	a.must(t, "apply", "--yes", "--wait=healthy", hcl)
	rows := decode[[]api.VolumeRow](t, a, "volume", "ls")
	if len(rows) != 1 || rows[0].Host != "far" {
		t.Fatalf("volumes: %+v", rows)
	}
	a.must(t, "volume", "snapshot", "data@one")
	show := decode[api.VolumeShow](t, a, "volume", "show", "data")
	if len(show.Snapshot) != 1 || show.Host != "far" {
		t.Errorf("shown: %+v", show)
	}
	a.must(t, "exec", "keeper", "--", "/bin/sh", "-c", "echo changed >/data/x")
	a.must(t, "jail", "stop", "keeper", "--yes")
	poll(t, time.Minute, "the jail has stopped", func() error {
		if show := decode[api.VolumeShow](t, a, "volume", "show", "data"); show.State != "idle" {
			return fmt.Errorf("the volume is %s", show.State)
		}
		return nil
	})
	a.must(t, "volume", "rollback", "data@one", "--yes")
	a.must(t, "jail", "start", "keeper", "--wait=healthy")
	a.must(t, "destroy", "--yes", hcl)
	poll(t, time.Minute, "the jail is gone", func() error {
		rows := decode[[]api.VolumeRow](t, a, "volume", "ls", "--host", "far")
		if len(rows) != 1 || rows[0].State != "orphan" {
			return fmt.Errorf("volumes: %+v", rows)
		}
		return nil
	})
	a.must(t, "volume", "rm", "data@one", "--yes")
	a.must(t, "volume", "rm", "data", "--yes")
}
