//go:build linux

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// ask sends one request through a published port and returns the last line of
// the answer: the name of the jail that gave it.
func ask(ctx context.Context, port int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	last := ""
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		last = lines.Text()
	}
	return last, nil
}

func TestAPublishedPortReachesHealthyMembersInTurn(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	port, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("cluster \"pub\" {}\nnetwork \"pub\" {\n subnet = \"10.171.22.0/24\"\n publish \"site\" {\n port = %d\n service = \"front\"\n }\n}\nimage \"box-pub\" { base = %q }\n", port, base) +
		strings.Replace(box("pub", "pub", web, service("front", "200ms")), "{\n", "{\n  count = 3\n", 1)
	h.apply(t, text)
	members := func() map[string]int {
		seen := map[string]int{}
		for range 12 {
			name, err := ask(t.Context(), port)
			if err != nil {
				name = "error: " + err.Error()
			}
			seen[name]++
		}
		return seen
	}
	// No poll: once apply has said healthy, the port leads to all of them.
	if seen := members(); seen["pub-1"] < 2 || seen["pub-2"] < 2 || seen["pub-3"] < 2 || len(seen) != 3 {
		t.Errorf("right after apply, the port was answered by %v", seen)
	}
	h.must(t, "exec", "pub-2", "--", "killall", "httpd")
	poll(t, 10*time.Second, "the sick one gets no connection", func() error {
		if seen := members(); seen["pub-1"] == 0 || seen["pub-3"] == 0 || len(seen) != 2 {
			return fmt.Errorf("answers: %v", seen)
		}
		return nil
	})
	h.destroy(t, "pub")
	if name, err := ask(t.Context(), port); err == nil {
		t.Errorf("%s still answers on the port of a network that is gone", name)
	}
}

func TestAVolumeOutlivesItsJailAndARootDoesNot(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	text := file("vol", "10.171.23.0/24", box("vol-1", "vol", forever, "volume \"data\" { path = \"/data\" }"))
	h.apply(t, text)
	h.must(t, "exec", "vol-1", "--", "sh", "-c", "echo kept >/data/note; echo gone >/root/note")
	h.must(t, "jail", "restart", "vol-1", "--yes", "--wait=healthy")
	poll(t, 10*time.Second, "a restart keeps both", func() error {
		if r := h.ctl("exec", "vol-1", "--", "cat", "/data/note", "/root/note"); r.stdout != "kept\ngone\n" {
			return errors.New(r.String())
		}
		return nil
	})
	h.destroy(t, "vol")
	h.apply(t, text)
	if r := h.ctl("exec", "vol-1", "--", "sh", "-c", "cat /data/note; test -e /root/note"); r.stdout != "kept\n" || r.code != 1 {
		t.Errorf("after destroy and apply: %s", r)
	}
	h.destroy(t, "vol")
}

func TestAnAbandonedExecEndsInTheJailToo(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	h.apply(t, file("left", "10.171.24.0/24", box("left-1", "left", forever)))
	cmd := exec.Command(rexctl, "exec", "left-1", "--", "sleep", "54321")
	cmd.Env = append(os.Environ(), h.env()...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sleeping := func() bool { return h.ctl("exec", "left-1", "--", "sh", "-c", "ps | grep '[s]leep 54321'").code == 0 }
	poll(t, 10*time.Second, "the command runs", func() error {
		if !sleeping() {
			return errors.New("not yet")
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	poll(t, 10*time.Second, "the command has ended", func() error {
		if sleeping() {
			return errors.New("it still runs")
		}
		return nil
	})
	h.must(t, "jail", "stop", "left-1", "--yes", "--wait=healthy")
	if r := h.ctl("exec", "left-1", "--", "true"); r.code != 1 || !strings.Contains(r.stderr, "left-1") || !strings.Contains(r.stderr, "run") {
		t.Errorf("exec in a stopped jail: %s", r)
	}
	h.destroy(t, "left")
}

func TestAJailIsConfined(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	h.apply(t, file("tight", "10.171.25.0/24", box("tight-1", "tight", forever)))
	pid := h.pid(h.ps(t)["tight-1"].UUID)
	for _, ns := range []string{"pid", "mnt", "net", "uts", "ipc"} {
		ours, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns)); err != nil || its == ours {
			t.Errorf("its %s namespace is %s, ours %s (%v)", ns, its, ours, err)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("its status lacks %q", want)
		}
	}
	userns := decode[[]struct {
		Features map[string]string `json:"features"`
	}](t, h, "host", "ls")
	if len(userns) == 1 && userns[0].Features["userns"] == "yes" && strings.Contains(string(status), "\nUid:\t0\t") {
		t.Error("its root is the host's")
	}
	for name, script := range map[string]string{
		"mount": "mount -t tmpfs none /tmp", "kernel log": "dmesg", "kernel memory": "cat /dev/mem", "raw packets": "ping -c 1 127.0.0.1",
		"time": "date -s 2001-01-01; test $(date +%Y) = 2001", "host name": "hostname other", "sysctl": "echo 1 >/proc/sys/kernel/sysrq", "the daemon's socket": "ls " + filepath.Join(h.run, "rexcarcer.sock"),
	} {
		if r := h.ctl("exec", "tight-1", "--", "sh", "-c", script); r.code == 0 {
			t.Errorf("%s: %q works: %s", name, script, r)
		}
	}
	h.destroy(t, "tight")
}

func TestTwoAppliesAtOnceOneLoses(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev", "-runtime=sim")
	h.start(t)
	first := file("one", "10.171.26.0/24", box("a", "one", "true"))
	path := h.write(t, "one.hcl", first)
	type planned struct {
		Base  uint64 `json:"base_index"`
		Steps []struct {
			Action, Kind, Name string
		} `json:"steps"`
	}
	p := decode[planned](t, h, "plan", path)
	if len(p.Steps) == 0 {
		t.Fatalf("the plan is empty: %+v", p)
	}
	h.apply(t, file("other", "10.171.27.0/24", box("b", "other", "true")))
	r := h.ctl("apply", path, "--yes", "--check-index", fmt.Sprint(p.Base))
	if r.code != 4 || !strings.Contains(r.stderr, "changed") {
		t.Errorf("an apply of an old plan: %s", r)
	}
	if _, there := h.ps(t)["a"]; there {
		t.Error("the refused apply had an effect")
	}
	if r := h.ctl("plan", path, "--exit-code"); r.code != 2 {
		t.Errorf("plan --exit-code with changes: %s", r)
	}
	h.apply(t, first)
	if r := h.ctl("plan", path, "--exit-code"); r.code != 0 {
		t.Errorf("plan --exit-code without changes: %s", r)
	}
	if ps := h.must(t, "ps"); !strings.Contains(ps, "simulated") {
		t.Errorf("a simulated jail does not say so:\n%s", ps)
	}
}
