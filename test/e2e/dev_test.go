//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDevSIGINTLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev")
	h.start(t)
	h.apply(t, strings.Replace(file("dev", "10.174.1.0/24", box("dev-1", "dev", web, service("site", "500ms"), "volume \"data\" { path = \"/data\" }"), box("dev-2", "dev", forever)),
		"subnet = \"10.174.1.0/24\"", "\n subnet = \"10.174.1.0/24\"\n nat = true\n", 1))
	if c := counted(t, h.data, h.run); c.processes < 3 || c.mounts == 0 || c.links == 0 || c.cgroups == 0 {
		t.Fatalf("the looking itself is wrong: it sees %s of a running daemon", c)
	}
	if err := h.signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := h.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if left := leftovers(h.data, h.run); len(left) > 0 {
		t.Errorf("left on this machine:\n  %s", strings.Join(left, "\n  "))
	}
	if _, err := os.Stat(filepath.Join(h.data, "raft")); err != nil {
		t.Errorf("with -data-dir the log stays: %v", err)
	}
}

func TestDevWithoutDataDirLeavesNoFileEither(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev")
	// Its own directories go below TMPDIR-independent /var/tmp; the log tells which.
	h.flags = slices.Delete(h.flags, 0, 2)
	h.start(t)
	text := tail(h.logName(), 100)
	_, rest, ok := strings.Cut(text, "\n  data ")
	if !ok {
		t.Fatalf("it does not say where its data is:\n%s", text)
	}
	h.data = strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0])
	h.apply(t, file("tmp", "10.174.4.0/24", box("tmp-1", "tmp", forever)))
	if err := h.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", h.data, err)
	}
}

func TestSecondStartBringsJailsBack(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev")
	h.start(t)
	text := file("back", "10.174.2.0/24", box("back-1", "back", web, service("site", "500ms"), "volume \"data\" { path = \"/data\" }"), box("back-2", "back", forever))
	h.apply(t, text)
	h.must(t, "exec", "back-1", "--", "sh", "-c", "echo kept >/data/note; echo root >/root/note")
	h.must(t, "jail", "stop", "back-2", "--yes", "--wait=healthy")
	before := h.ps(t)
	for range 2 {
		if err := h.signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if left := leftovers(h.data, h.run); len(left) > 0 {
			t.Fatalf("left on this machine:\n  %s", strings.Join(left, "\n  "))
		}
		h.start(t)
		poll(t, 30*time.Second, "the jail is back", func() error {
			rows, err := h.rows()
			if err != nil {
				return err
			}
			if r := rows["back-1"]; h.pid(r.UUID) == 0 || r.Phase != "running" || r.Health != "healthy" || !slices.Equal(r.Addresses, before["back-1"].Addresses) {
				return fmt.Errorf("%+v, was %+v", r, before["back-1"])
			}
			return nil
		})
		if r := h.ps(t)["back-2"]; r.Phase == "running" || r.Want != "stopped" {
			t.Errorf("what was stopped is %+v", r)
		}
		if got := h.must(t, "exec", "back-1", "--", "cat", "/data/note", "/root/note"); got != "kept\nroot\n" {
			t.Errorf("the volume and the root have %q", got)
		}
	}
	if got := h.must(t, "apply", h.write(t, "cluster.hcl", text), "--yes"); !strings.Contains(got, "No changes") {
		t.Errorf("apply: %s", got)
	}
}

func TestTwoNetworksAreIsolated(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	text := func(allow string) string {
		return fmt.Sprintf("cluster \"iso\" {}\nnetwork \"red\" {\n subnet = \"10.171.20.0/24\"\n nat = true\n}\nnetwork \"blue\" {\n subnet = \"10.171.21.0/24\"\n nat = true\n %s\n}\nimage \"box-red\" { base = %q }\nimage \"box-blue\" { base = %q }\n", allow, base, base) +
			box("red-1", "red", web, service("rs", "500ms")) + box("red-2", "red", forever) + box("blue-1", "blue", web, service("bs", "500ms"))
	}
	h.apply(t, text(""))
	rows := h.ps(t)
	reach := func(from, to string) error {
		if r := h.ctl("exec", from, "--", "sh", "-c",
			"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 "+rows[to].Addresses[0]+" 80"); r.code != 0 || !strings.HasSuffix(r.stdout, "\n"+to+"\n") {
			return errors.New(r.String())
		}
		return nil
	}
	if err := reach("red-2", "red-1"); err != nil {
		t.Errorf("within a network: %v", err)
	}
	if reach("red-2", "blue-1") == nil || reach("blue-1", "red-1") == nil {
		t.Error("one network reaches the other")
	}
	// Not by the other's router or host address either.
	for _, addr := range []string{"10.171.21.1", "10.171.21.2"} {
		if r := h.ctl("exec", "red-2", "--", "nc", "-z", "-w", "2", addr, "53"); r.code == 0 {
			t.Errorf("red reaches %s", addr)
		}
	}
	// A name of the other network is no secret, but it leads nowhere. Neither may red change its address to one of blue's.
	if r := h.ctl("exec", "red-2", "--", "ip", "address", "add", "10.171.20.77/24", "dev", "eth0"); r.code == 0 {
		t.Errorf("a jail gave itself another address: %s", r)
	}
	h.apply(t, text("allow = [\"red\"]"))
	poll(t, 10*time.Second, "allow lets red in", func() error { return reach("red-2", "blue-1") })
	if reach("blue-1", "red-1") == nil {
		t.Error("allow works both ways")
	}
	h.destroy(t, "iso")
}
