//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// TestStorage: what users do with images and volumes, on one daemon.
func TestStorage(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev", "-build-memory", "64M", "-build-processes", "50")
	h.start(t)
	t.Run("a failed step is kept only when asked, and can be entered", func(t *testing.T) { keptStep(t, h) })
	t.Run("a step has limits and a time", func(t *testing.T) { stepLimits(t, h) })
	t.Run("image gc frees what nobody needs", func(t *testing.T) { collect(t, h) })
	t.Run("a service of a rex file is in DNS", func(t *testing.T) { renderer(t, h) })
	t.Run("volumes have snapshots and outlive jails", func(t *testing.T) { volumes(t, h) })
	t.Run("ssh lets in the keys of the cluster", func(t *testing.T) { sshIntoJail(t, h) })
}

func keptStep(t *testing.T, h *host) {
	rex := h.write(t, "bad.rex", "BASE "+base+"\nRUN echo good >/good\nRUN seq 30; echo half >/half; exit 3\n")
	failed := func(flags ...string) string {
		t.Helper()
		r := h.ctl(append([]string{"image", "build", rex, "-t", "bad"}, flags...)...)
		for _, want := range []string{filepath.Base(rex) + ":3: RUN seq 30", "exit code 3", "| 30"} {
			if r.code != 1 || !strings.Contains(r.stderr, want) {
				t.Errorf("want exit code 1 and %q in: %s", want, r)
			}
		}
		return r.stderr
	}
	failed()
	if ls := h.must(t, "image", "ls", "-q"); ls != "" {
		t.Errorf("images after a failure: %q", ls)
	}
	if text := failed("--keep"); !strings.Contains(text, "rexctl image debug bad:failed") {
		t.Errorf("no way to look into it: %s", text)
	}
	if r := h.ctl("image", "debug", "bad:failed", "--", "cat", "/good", "/half"); r.code != 0 || r.stdout != "good\nhalf\n" {
		t.Errorf("debug: %s", r)
	}
	if r := h.ctl("image", "debug", "bad:failed", "--", "sh", "-c", "rm /half; exit 7"); r.code != 7 {
		t.Errorf("debug has the exit code of the command: %s", r)
	}
	if r := h.ctl("image", "debug", "bad:failed", "--", "cat", "/half"); r.stdout != "half\n" {
		t.Errorf("what was done in it was kept: %s", r)
	}
	h.must(t, "image", "rm", "bad:failed", "--yes")
}

func stepLimits(t *testing.T, h *host) {
	for what, c := range map[string]struct{ script, want string }{
		"memory":    {"x=0123456789abcdef; while :; do x=$x$x; done", "for want of memory"},
		"processes": {"for i in $(seq 60); do sleep 5 & done; wait", "can't fork"},
		"time":      {"echo begun; sleep 60", "timed out after 1s"},
	} {
		rex := h.write(t, what+".rex", "BASE "+base+"\nRUN "+c.script+"\n")
		r := h.ctl("image", "build", rex, "-t", what, "--timeout", map[bool]string{true: "1s", false: "60s"}[what == "time"])
		if r.code != 1 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: want exit code 1 and %q: %s", what, c.want, r)
		}
	}
}

func collect(t *testing.T, h *host) {
	rex := h.write(t, "big.rex", "BASE "+base+"\nRUN dd if=/dev/zero of=/big bs=1M count=2\n")
	h.must(t, "image", "build", rex, "-t", "big")
	if got := decode[api.GCResult](t, h, "image", "gc", "--keep-newest", "0", "--dry-run"); slices.ContainsFunc(got.Removed, func(g api.Garbage) bool { return g.Name == "big" }) {
		t.Errorf("an image with a name would go: %+v", got)
	}
	h.must(t, "image", "rm", "big", "--yes")
	got := decode[api.GCResult](t, h, "image", "gc", "--keep-newest", "0", "--yes")
	if got.Bytes < 2<<20 || !slices.ContainsFunc(got.Removed, func(g api.Garbage) bool { return g.Kind == "image" && g.Name == "big" }) {
		t.Errorf("removed: %+v", got)
	}
	if r := h.ctl("image", "gc", "--keep-newest", "0"); r.code != 0 || !strings.Contains(r.stdout, "removed 0 images, 0 layers, 0 bases, 0 B") {
		t.Errorf("again: %s", r)
	}
	// The cluster knows that it is gone: the same file is built, not taken for granted.
	if r := h.ctl("image", "build", rex, "-t", "big"); r.code != 0 || !strings.Contains(r.stderr, "1 step, 0 cached") {
		t.Errorf("build after gc: %s", r)
	}
	h.must(t, "image", "rm", "big", "--yes")
}

func renderer(t *testing.T, h *host) {
	path := filepath.Join(h.dir, "internal-renderer.rex")
	text := "BASE " + base + "\nSERVICE renderer PORT 1234\nCMD sh -c \"" + strings.ReplaceAll(forever, `"`, `\"`) + "\"\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	h.must(t, "apply", path, "--yes", "--timeout", "60s")
	// One jail and its service have one name: its host record is the service's.
	answer := decode[api.DNSAnswer](t, h, "dns", "query", "renderer.internal-renderer.rex.internal")
	host := decode[api.DNSAnswer](t, h, "dns", "query", "internal-renderer.internal-renderer.rex.internal")
	if len(answer.Answers) != 1 || len(host.Answers) != 1 || answer.Answers[0].Data != host.Answers[0].Data {
		t.Errorf("A of the service: %+v, of the jail: %+v", answer.Answers, host.Answers)
	}
	srv := decode[api.DNSAnswer](t, h, "dns", "query", "_renderer._tcp.internal-renderer.rex.internal", "SRV")
	if len(srv.Answers) != 1 || !strings.HasSuffix(srv.Answers[0].Data, " 1234 internal-renderer.internal-renderer.rex.internal.") {
		t.Errorf("SRV: %+v", srv.Answers)
	}
	h.destroy(t, "internal-renderer")
}

func volumes(t *testing.T, h *host) {
	text := func(version string) string {
		return file("snap", "10.176.1.0/24", box("snap-1", "snap", "echo "+version+" >/dev/null; "+forever,
			"volume \"data\" {\n path = \"/data\"\n quota = \"64M\"\n snapshot_before_change = true\n}"))
	}
	const volume = "snap.snap-1.data"
	content := func() string { return h.must(t, "exec", "snap-1", "--", "cat", "/data/x") }
	snapshots := func() []string {
		var out []string
		for _, s := range decode[api.VolumeShow](t, h, "volume", "show", volume).Snapshot {
			out = append(out, s.Name)
		}
		return out
	}
	h.apply(t, text("v1"))
	if r := h.ctl("exec", "snap-1", "--", "sh", "-c", "dd if=/dev/zero of=/data/big bs=1M count=80; rm /data/big"); !strings.Contains(r.stderr, "No space left") {
		t.Errorf("80 MiB went into a quota of 64: %s", r)
	}
	h.must(t, "exec", "snap-1", "--", "sh", "-c", "echo one >/data/x")
	h.must(t, "jail", "restart", "snap-1", "--yes", "--wait=healthy")
	if got := snapshots(); len(got) != 0 {
		t.Errorf("a restart without a change made snapshots %q", got)
	}
	h.apply(t, text("v2"))
	got := snapshots()
	if len(got) != 1 || !strings.HasPrefix(got[0], "before-run-") {
		t.Fatalf("snapshots after a change: %q", got)
	}
	h.must(t, "exec", "snap-1", "--", "sh", "-c", "echo two >/data/x")
	h.must(t, "volume", "snapshot", volume+"@mine")
	if r := h.ctl("volume", "rollback", volume+"@"+got[0], "--drop-later", "--yes"); r.code != 1 || !strings.Contains(r.stderr, "rexctl jail stop") {
		t.Errorf("rollback under a running jail: %s", r)
	}
	h.must(t, "jail", "stop", "snap-1", "--yes", "--wait=healthy")
	if r := h.ctl("volume", "rollback", volume+"@"+got[0], "--yes"); r.code != 1 || !strings.Contains(r.stderr, "--drop-later") {
		t.Errorf("rollback past a newer snapshot: %s", r)
	}
	h.must(t, "volume", "rollback", volume+"@"+got[0], "--drop-later", "--yes")
	h.must(t, "jail", "start", "snap-1", "--wait=healthy")
	if x := content(); x != "one\n" {
		t.Errorf("after the rollback: %q", x)
	}
	row := decode[[]api.VolumeRow](t, h, "volume", "ls", "--filter", "name="+volume)
	if len(row) != 1 || row[0].State != "used" || row[0].QuotaBytes != 64<<20 || !row[0].QuotaKept || row[0].Path != "/data" || row[0].Bytes <= 0 {
		t.Errorf("volume ls: %+v", row)
	}
	h.destroy(t, "snap")
	poll(t, 20*time.Second, "the volume outlives its jail", func() error {
		row := decode[[]api.VolumeRow](t, h, "volume", "ls")
		if len(row) != 1 || row[0].State != "orphan" {
			return fmt.Errorf("volume ls: %+v", row)
		}
		return nil
	})
	h.must(t, "volume", "rm", volume+"@"+got[0], "--yes")
	h.must(t, "volume", "rm", volume, "--yes")
	if ls := h.must(t, "volume", "ls", "-q"); ls != "" {
		t.Errorf("left: %q", ls)
	}
}

func sshIntoJail(t *testing.T, h *host) {
	testenv.RequireTool(t, "ssh")
	testenv.RequireTool(t, "/usr/sbin/sshd")
	key := func(name string) (file, public string) {
		file = filepath.Join(h.dir, name)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		text, err := os.ReadFile(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		return file, strings.TrimSpace(string(text))
	}
	ann, annPub := key("ann")
	bob, bobPub := key("bob")
	rex := h.write(t, "sshd.rex", "BASE host:/\nRUN usermod -p '*' root\nSTART_SSH\nCMD sh -c \""+strings.ReplaceAll(forever, `"`, `\"`)+"\"\n")
	bare := h.write(t, "bare.rex", "BASE host:/\nRUN usermod -p '*' root\nSTART_SSH\n") // sshd is its command
	text := func(keys ...string) string {
		return fmt.Sprintf("cluster \"sshd\" { ssh_keys = [%s] }\nnetwork \"sshd\" { subnet = \"10.176.2.0/24\" }\nimage \"sshd\" { rexfile = %q }\n",
			strings.Join(keys, ", "), filepath.Base(rex)) + "jail \"sshd\" {\n  image = \"sshd\"\n  network = \"sshd\"\n  address = \"10.176.2.9\"\n  stop_timeout = \"1s\"\n" +
			"  service \"ssh\" {\n    port = 22\n    check { type = \"tcp\" }\n  }\n}\n"
	}
	h.apply(t, text(fmt.Sprintf("%q", annPub))+fmt.Sprintf("image \"bare\" { rexfile = %q }\n", filepath.Base(bare))+
		"jail \"bare\" {\n  image = \"bare\"\n  network = \"sshd\"\n  address = \"10.176.2.8\"\n  stop_timeout = \"1s\"\n  service \"ssh2\" {\n    port = 22\n    check { type = \"tcp\" }\n  }\n}\n")
	login := func(file string, at ...string) result {
		return command(t.Context(), "", nil, "ssh", "-i", file, "-F", "/dev/null", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20", "root@"+append(at, "10.176.2.9")[0], "hostname; id -u")
	}
	if r := login(ann); r.code != 0 || r.stdout != "sshd\n0\n" {
		t.Fatalf("ann: %s\n%s", r, h.must(t, "logs", "sshd"))
	}
	if r := login(ann, "10.176.2.8"); r.code != 0 || r.stdout != "bare\n0\n" {
		t.Errorf("a jail whose command is sshd: %s\n%s", r, h.must(t, "logs", "bare"))
	}
	if r := login(bob); r.code == 0 {
		t.Errorf("bob, whom nobody knows: %s", r)
	}
	before := h.pids(t, "sshd")["sshd"]
	h.apply(t, text(fmt.Sprintf("%q", bobPub)))
	poll(t, 20*time.Second, "bob may in, ann may not", func() error {
		if a, b := login(ann), login(bob); a.code == 0 || b.code != 0 {
			return fmt.Errorf("ann: %s\nbob: %s", a, b)
		}
		return nil
	})
	if now := h.pids(t, "sshd")["sshd"]; now != before {
		t.Error("the jail was restarted for a key")
	}
	h.destroy(t, "sshd")
	none := strings.Replace(text(), "image \"sshd\" { rexfile = \""+filepath.Base(rex), "image \"sshd\" { rexfile = \""+filepath.Base(h.write(t, "nosshd.rex", "BASE "+base+"\nSTART_SSH\nCMD sleep 1000\n")), 1)
	if r := h.try(t, none, "--wait=none"); r.code != 0 {
		t.Fatalf("apply: %s", r)
	}
	poll(t, 20*time.Second, "it says what is missing", func() error {
		if why := h.must(t, "why", "jail/sshd"); !strings.Contains(why, "openssh-server") {
			return errors.New(why)
		}
		return nil
	})
	h.destroy(t, "sshd")
}
