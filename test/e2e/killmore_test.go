//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noNetworkLeft complains about links and processes of a daemon that has no
// network and no jail any more.
func noNetworkLeft(h *host) error {
	found, err := leftLinks(instance(h.data), "", "")
	if err != nil {
		return err
	}
	processes, err := leftProcesses(instance(h.data), h.data, h.run)
	for _, p := range processes {
		if !strings.Contains(p, "-data-dir "+h.data) { // the daemon itself
			found = append(found, p)
		}
	}
	if len(found) > 0 {
		err = errors.Join(err, errors.New(strings.Join(found, "\n")))
	}
	return err
}

func TestKill9DuringADestroyLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // moments, not secrets
	text := strings.Replace(file("des", "10.172.4.0/24", box("des-1", "des", web, service("site", "500ms"), "volume \"data\" { path = \"/data\" }"), box("des-2", "des", forever)),
		"subnet = \"10.172.4.0/24\"", "\n subnet = \"10.172.4.0/24\"\n nat = true\n", 1)
	for round := range 8 {
		h.apply(t, text)
		done := make(chan struct{})
		go func() { defer close(done); h.ctl("destroy", "des", "--yes", "--timeout", "5s") }() // it may or may not get through
		moment := time.Duration(random.IntN(300)) * time.Millisecond
		<-time.After(moment)
		h.kill(t)
		<-done
		h.start(t)
		if strings.Contains(h.must(t, "status", "-o", "json"), `"des"`) {
			h.destroy(t, "des")
		}
		poll(t, 30*time.Second, fmt.Sprintf("round %d, killed after %s: nothing is left", round, moment), func() error {
			if left := append(jailThings(t, h), h.files(t)...); len(left) > 0 {
				return errors.New(strings.Join(left, "\n"))
			}
			return noNetworkLeft(h)
		})
	}
}

func TestKill9DuringTheEndOfADevDaemonIsMadeGoodByTheNext(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // moments, not secrets
	for round := range 5 {
		h.start(t)
		h.apply(t, file("end", "10.172.5.0/24", box("end-1", "end", web, service("site", "500ms"), "volume \"data\" { path = \"/data\" }"), box("end-2", "end", forever)))
		poll(t, 30*time.Second, fmt.Sprintf("round %d: both are back", round), func() error { return allHealthy(h, 2) })
		if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(random.IntN(120)) * time.Millisecond)
		h.kill(t)
	}
	h.start(t) // newHost ends it, and looks at what is left
}

func TestKill9DuringABuildLeavesNoHalfImage(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start(t)
	text := func(sleep string) string {
		rex := h.write(t, "slow.rex", "BASE "+base+"\nRUN echo first >/first\nRUN echo begun; sleep "+sleep+"; echo second >/second\n")
		return "cluster \"slow\" {}\nnetwork \"slow\" { subnet = \"10.172.6.0/24\" }\nimage \"slow\" { rexfile = \"" + filepath.Base(rex) + "\" }\n" +
			strings.Replace(box("slow-1", "slow", "cat /first /second; "+forever), "box-slow", "slow", 1)
	}
	path := h.write(t, "slow.hcl", text("12345"))
	done := make(chan result, 1)
	go func() { done <- h.ctl("apply", path, "--yes") }()
	poll(t, 20*time.Second, "the build sleeps", func() error {
		processes, err := leftProcesses(instance(h.data), h.data, h.run)
		if err == nil && !strings.Contains(strings.Join(processes, "\n"), "sleep 12345") {
			err = errors.New("not yet")
		}
		return err
	})
	h.kill(t)
	if r := <-done; r.code != 1 {
		t.Errorf("apply whose daemon was killed: %s", r)
	}
	h.start(t)
	poll(t, 30*time.Second, "nothing is left of the build", func() error {
		if left := append(jailThings(t, h), h.files(t)...); len(left) > 0 {
			return errors.New(strings.Join(left, "\n"))
		}
		return noNetworkLeft(h)
	})
	if ls := h.must(t, "image", "ls"); strings.Contains(ls, "slow") {
		t.Errorf("there is half an image:\n%s", ls)
	}
	h.apply(t, text("0"))
	poll(t, 10*time.Second, "the image is whole", func() error {
		if got := h.must(t, "logs", "slow-1"); got != "first\nsecond\n" {
			return fmt.Errorf("logs: %q", got)
		}
		return nil
	})
}
