//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

func TestACrashLoopBacksOffAndSaysSo(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	text := file("loop", "10.171.2.0/24", box("crash", "loop", "echo dying; sleep 0.1; exit 3", `restart {
  backoff = "200ms"
  max_backoff = "1s"
}`))
	h.apply(t, text, "--wait=none")
	begun := time.Now()
	poll(t, 30*time.Second, "four restarts", func() error {
		rows, err := h.rows()
		if err == nil && rows["crash"].Restarts < 4 {
			err = fmt.Errorf("%d restarts", rows["crash"].Restarts)
		}
		return err
	})
	// 0.2 + 0.4 + 0.8 + 1 s of backoff, less the jitter, which may take a part of each.
	if took := time.Since(begun); took < time.Second {
		t.Errorf("four restarts took %s only: is there no backoff?", took)
	}
	said := func(pattern string, args ...string) {
		t.Helper()
		poll(t, 20*time.Second, strings.Join(args, " "), func() error {
			if text := h.must(t, args...); !regexp.MustCompile(pattern).MatchString(text) {
				return fmt.Errorf("want %s in\n%s", pattern, text)
			}
			return nil
		})
	}
	said(`(?s)exit code 3.*backs off: attempt \d+ starts in`, "why", "jail/crash")
	said(`failed.*exit code 3`, "ps", "-o", "wide", "crash")
	h.destroy(t, "loop")
}

func TestLimitsChangeInPlace(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	with := func(memory string, processes int) string {
		return file("lim", "10.171.3.0/24", box("limited", "lim", forever, fmt.Sprintf("limits {\n memory = %q\n processes = %d\n cpu = 0.5\n}", memory, processes)))
	}
	h.apply(t, with("32M", 20))
	row := h.ps(t)["limited"]
	pid := h.pid(row.UUID)
	check := func(bytes, processes string) {
		t.Helper()
		poll(t, 10*time.Second, "limits in the kernel", func() error {
			return errors.Join(cgroupHas(h, row.UUID, bytes, "memory/%s/memory.limit_in_bytes", "%s/memory.max"),
				cgroupHas(h, row.UUID, processes, "pids/%s/pids.max", "%s/pids.max"))
		})
	}
	check("33554432", "20")
	h.apply(t, with("48M", 30))
	check("50331648", "30")
	if now := h.ps(t)["limited"]; h.pid(row.UUID) != pid || now.Restarts != row.Restarts || pid == 0 {
		t.Errorf("the jail was restarted: pid %d, then %d; restarts %d", pid, h.pid(row.UUID), now.Restarts)
	}
	h.destroy(t, "lim")
}

// cgroupHas compares a file of a jail's control group, whichever layout the machine has.
func cgroupHas(h *host, uuid, want string, layouts ...string) error {
	group := "rexcarcer/" + instance(h.data) + "/rex-" + uuid
	for _, layout := range layouts {
		b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", fmt.Sprintf(layout, group)))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if got := strings.TrimSpace(string(b)); err == nil && got != want {
			err = fmt.Errorf("%s is %s, want %s", layout, got, want)
		}
		return err
	}
	return fmt.Errorf("no control group %s has %v", group, layouts)
}

func TestARollingUpdateKeepsTheOthersHealthy(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	with := func(version string) string {
		return file("roll", "10.171.4.0/24", strings.Replace(box("web", "roll", web, service("site", "200ms"),
			fmt.Sprintf("env = { VERSION = %q }", version), "update { max_parallel = 1 }"), "{\n", "{\n  count = 3\n", 1))
	}
	h.apply(t, with("one"))
	before := h.pids(t, "roll")
	healthy := func() (n int) {
		for name, r := range h.ps(t) {
			if strings.HasPrefix(name, "web-") && r.Phase == "running" && r.Health == "healthy" {
				n++
			}
		}
		return n
	}
	done := make(chan result, 1)
	go func() { done <- h.try(t, with("two")) }()
	least := 3
	poll(t, 90*time.Second, "the update ends", func() error {
		least = min(least, healthy())
		select {
		case r := <-done:
			if r.code != 0 {
				return fatal{errors.New(r.String())}
			}
			return nil
		default:
			return errors.New("not yet")
		}
	})
	if least < 2 {
		t.Errorf("%d of 3 were healthy at the worst moment, want 2", least)
	}
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		if pid := h.pid(h.ps(t)[name].UUID); pid == 0 || pid == before[name] {
			t.Errorf("%s was not replaced: pid %d", name, pid)
		}
		if got := h.must(t, "exec", name, "--", "sh", "-c", "tr '\\0' '\\n' </proc/1/environ"); !strings.Contains(got, "VERSION=two") {
			t.Errorf("%s runs with %q", name, got)
		}
	}
	onlyHealthyMembersAnswer(t, h)
	h.destroy(t, "roll")
}

// onlyHealthyMembersAnswer stops the server, not the jail, of one member.
func onlyHealthyMembersAnswer(t *testing.T, h *host) {
	t.Helper()
	answers := func() []string {
		r := h.ctl("dns", "query", "site.roll.rex.internal", "-o", "name")
		list := strings.Fields(r.stdout)
		slices.Sort(list)
		return list
	}
	if got := answers(); len(got) != 3 {
		t.Fatalf("the service answers %q, want 3 addresses", got)
	}
	sick := h.ps(t)["web-2"].Addresses[0]
	h.must(t, "exec", "web-2", "--", "killall", "httpd")
	poll(t, 10*time.Second, "the sick member is out of DNS", func() error {
		if got := answers(); slices.Contains(got, sick) || len(got) == 0 {
			return fmt.Errorf("the service answers %q, %s is sick", got, sick)
		}
		return nil
	})
}

func TestVerbsOfOneJail(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	h.apply(t, file("verbs", "10.171.5.0/24", box("verb-a", "verbs", forever), box("verb-b", "verbs", forever)))
	first := h.ps(t)["verb-a"]
	pid := h.pid(first.UUID)
	h.must(t, "jail", "stop", "verb-a", "--yes", "--wait=healthy")
	if r := h.ps(t)["verb-a"]; r.Phase != "stopped" || h.pid(r.UUID) != 0 {
		t.Errorf("after stop: %+v", r)
	}
	h.must(t, "jail", "start", "verb-a", "--wait=healthy")
	r := h.ps(t)["verb-a"]
	if r.Phase != "running" || !slices.Equal(r.Addresses, first.Addresses) || h.pid(r.UUID) == pid {
		t.Errorf("after start: %+v, was %+v", r, first)
	}
	pid = h.pid(r.UUID)
	h.must(t, "jail", "restart", "verb-a", "--yes")
	poll(t, 20*time.Second, "another process runs", func() error {
		if r := h.ps(t)["verb-a"]; r.Phase != "running" || h.pid(r.UUID) == pid || h.pid(r.UUID) == 0 || r.Restarts != first.Restarts {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	h.must(t, "jail", "rm", "verb-a", "--yes")
	poll(t, 20*time.Second, "the jail is gone", func() error {
		if r, there := h.ps(t)["verb-a"]; there {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	if r := h.ps(t)["verb-b"]; r.Phase != "running" || r.Restarts != 0 {
		t.Errorf("the other jail: %+v", r)
	}
	if r := h.ctl("dns", "query", "verb-a.verbs.rex.internal"); r.code == 0 {
		t.Errorf("the removed jail still has a name: %s", r)
	}
	h.destroy(t, "verbs")
}

func TestAMemoryHogIsKilledAndReported(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	// tail keeps what it reads until there is a newline: there is none.
	h.apply(t, file("hog", "10.171.6.0/24", box("hog", "hog", "sleep 0.3; exec tail /dev/zero", "limits { memory = \"24M\" }", "restart { policy = \"never\" }"),
		box("bystander", "hog", forever)), "--wait=none")
	poll(t, 30*time.Second, "the hog is killed", func() error {
		show := h.ctl("jail", "show", "hog", "-o", "json")
		var s api.JailShow
		if err := json.Unmarshal([]byte(show.stdout), &s); err != nil || s.Run == nil || s.Run.Exit == nil {
			return fmt.Errorf("%s", show)
		}
		if !s.Run.Exit.OOM || s.Phase != "failed" || !strings.Contains(s.Run.Reason, "memory") {
			return fatal{fmt.Errorf("%s", show)}
		}
		return nil
	})
	if why := h.must(t, "why", "jail/hog"); !strings.Contains(why, "limits.memory") {
		t.Errorf("why does not say what to do:\n%s", why)
	}
	if r := h.ps(t)["bystander"]; r.Phase != "running" || r.Restarts != 0 {
		t.Errorf("the bystander: %+v", r)
	}
	h.destroy(t, "hog")
}
