//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/zfstest"
)

// killAt is when the daemon is killed, as a part of what is to be done; 0
// unless `make zfs-kills` asks: a minute of zfs-fuse is too much for each change.
func killAt() float64 {
	at, err := strconv.ParseFloat(os.Getenv("REXCARCER_KILL_AT"), 64)
	if err != nil {
		return 0
	}
	return at
}

// datasets are all below the store's own, but for the groups themselves.
func datasets(t *testing.T, root string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "zfs", "list", "-H", "-o", "name", "-r", root).CombinedOutput()
	if err != nil {
		t.Fatalf("zfs list: %v\n%s", err, out)
	}
	var all []string
	for _, name := range strings.Fields(string(out)) {
		if rest := strings.TrimPrefix(name, root+"/"); strings.Contains(rest, "/") && rest != name {
			all = append(all, rest)
		}
	}
	return all
}

// TestKill9OnZFS kills the daemon in a build and in the start of a jail, on datasets of a real pool. The same command then
// finishes, and at the end no dataset is left that nobody needs.
func TestKill9OnZFS(t *testing.T) {
	if killAt() == 0 || !zfstest.Isolated(t) {
		return
	}
	root := zfstest.Pool(t, 256<<20) + "/rex"
	h := newHost(t, "-storage", "zfs:"+root)
	h.start(t)
	build := func(round int) []string {
		rex := filepath.Join(h.dir, fmt.Sprintf("%s-kill%d.rex", t.Name(), round))
		if _, err := os.Stat(rex); err == nil {
			return []string{"image", "build", rex, "-t", "kill"}
		}
		from := filepath.Join(h.dir, fmt.Sprintf("from-%d", round)) // a base of its own
		if out, err := exec.CommandContext(t.Context(), "cp", "-a", base, from).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
		rex = h.write(t, fmt.Sprintf("kill%d.rex", round), fmt.Sprintf("BASE %s\nRUN echo one >/one\nRUN echo two >/two\n", from))
		return []string{"image", "build", rex, "-t", "kill"}
	}
	begin := time.Now()
	h.must(t, build(0)...)
	whole := time.Since(begin)
	killedDuring(t, h, time.Duration(killAt()*float64(whole)), build(1)...)
	h.must(t, build(1)...)
	if got := h.must(t, "image", "debug", "kill", "--", "cat", "/one", "/two"); got != "one\ntwo\n" {
		t.Errorf("the image holds %q", got)
	}

	wish := func(name string) string {
		return h.write(t, name+".hcl", "cluster \""+name+"\" {}\njail \""+name+"\" {\n  image = \"kill\"\n  network = \"none\"\n"+
			"  command = [\"/bin/sh\", \"-c\", \"trap 'exit 0' TERM; sleep 100000 & wait\"]\n  volume \"data\" { path = \"/data\" }\n}\n")
	}
	begin = time.Now()
	h.must(t, "apply", "--yes", "--wait=healthy", wish("first"))
	whole = time.Since(begin)
	second := wish("second")
	killedDuring(t, h, time.Duration(killAt()*float64(whole)), "apply", "--yes", "--wait=healthy", second)
	h.must(t, "apply", "--yes", "--wait=healthy", second)
	if jails := decode[[]api.JailRow](t, h, "ps"); len(jails) != 2 {
		t.Errorf("%d jails, want 2", len(jails))
	}
	h.must(t, "destroy", "--yes", "first")
	h.must(t, "destroy", "--yes", "second")
	poll(t, time.Minute, "no jail's dataset is left", func() error {
		for _, ds := range datasets(t, root) {
			if strings.HasPrefix(ds, "jail/") || strings.HasPrefix(ds, "staging/") {
				return fmt.Errorf("left: %s", ds)
			}
		}
		return nil
	})
	h.must(t, "image", "rm", "kill", "--yes")
	h.must(t, "image", "gc", "--keep-newest", "0", "--bases", "--yes")
	volumes := 0
	for _, ds := range datasets(t, root) {
		if !strings.HasPrefix(ds, "volume/") {
			t.Errorf("dataset %s is left", ds)
		}
		volumes++
	}
	if volumes != 2 {
		t.Errorf("%d volumes, want 2", volumes)
	}
	t.Logf("killed at %.2f of a build and of a start; datasets left: %d volumes", killAt(), volumes)
}

// killedDuring runs rexctl, kills the daemon meanwhile, and starts it again.
func killedDuring(t *testing.T, h *host, after time.Duration, args ...string) {
	t.Helper()
	done := make(chan result, 1)
	go func() { done <- h.ctl(args...) }()
	<-time.After(after)
	h.kill(t)
	<-done // an error, unless the kill came late
	h.start(t)
}
