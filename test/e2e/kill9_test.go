//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

const killSubnet = "10.172.1.0/24"

// three jails with a service, a volume and variables each.
func three(network string) string {
	var all []string
	for _, name := range []string{"k-a", "k-b", "k-c"} {
		all = append(all, box(name, network, "echo up $WHO; "+web, service("svc-"+name, "500ms"), "env = { WHO = \""+name+"\" }",
			"volume \"data\" { path = \"/data\" }", "restart { backoff = \"100ms\" }"))
	}
	return strings.Join(all, "\n")
}

func TestKill9LeavesJailsRunningAndTheNextDaemonAdoptsThem(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start(t)
	h.apply(t, file("kill", killSubnet, three("kill")))
	before, pids := h.ps(t), h.pids(t, "kill")
	h.must(t, "exec", "k-a", "--", "sh", "-c", "echo kept >/data/note")

	h.kill(t)
	for name, pid := range pids {
		if err := syscall.Kill(pid, 0); err != nil {
			t.Fatalf("%s (pid %d) died with the daemon: %v", name, pid, err)
		}
	}
	namesAnswerWithoutDaemon(t, pids["k-a"], before)
	h.start(t)
	for name, r := range h.ps(t) {
		was := before[name]
		if r.Phase != "running" || h.pid(r.UUID) != pids[name] || r.Restarts != 0 || !slices.Equal(r.Addresses, was.Addresses) {
			t.Errorf("%s was not adopted as it was: pid %d %+v, before: pid %d %+v", name, h.pid(r.UUID), r, pids[name], was)
		}
	}
	poll(t, 20*time.Second, "all are healthy again", func() error { return allHealthy(h, 3) })
	if got := h.must(t, "exec", "k-a", "--", "cat", "/data/note"); got != "kept\n" {
		t.Errorf("the volume has %q", got)
	}
	if got := h.must(t, "logs", "k-b"); !strings.Contains(got, "up k-b") {
		t.Errorf("logs after adoption: %q", got)
	}
	if got := h.must(t, "apply", h.write(t, "cluster.hcl", file("kill", killSubnet, three("kill"))), "--yes"); !strings.Contains(got, "No changes") {
		t.Errorf("apply after adoption: %s", got)
	}
	deathsAreNoticedAfterwards(t, h, pids)
	routersAreKeptAlive(t, h)
	if err := h.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"k-a", "k-b"} {
		if err := syscall.Kill(pids[name], 0); err != nil {
			t.Errorf("%s (pid %d) died with a daemon that was ended politely: %v", name, pids[name], err)
		}
	}
}

// routersAreKeptAlive kills the router, once under the daemon's eyes and once
// while it is away.
func routersAreKeptAlive(t *testing.T, h *host) {
	t.Helper()
	router := func() int { return h.pidOf("rex-router-" + decode[[]api.NetworkRow](t, h, "network", "ls")[0].ID) }
	for _, away := range []bool{false, true} {
		old := router()
		if away {
			h.kill(t)
		}
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatalf("kill the router, pid %d: %v", old, err)
		}
		if away {
			h.start(t)
		}
		poll(t, 20*time.Second, fmt.Sprintf("another router answers (daemon away: %t)", away), func() error {
			if pid := router(); pid == 0 || pid == old {
				return fmt.Errorf("router has pid %d, was %d", pid, old)
			}
			if r := h.ctl("exec", "k-a", "--", "nslookup", "-type=a", "k-b.kill.rex.internal"); r.code != 0 {
				return errors.New(r.String())
			}
			return nil
		})
	}
}

// namesAnswerWithoutDaemon asks from inside a jail, by entering it as nsenter does.
func namesAnswerWithoutDaemon(t *testing.T, pid int, rows map[string]api.JailRow) {
	t.Helper()
	for _, name := range []string{"k-b", "svc-k-c.kill.rex.internal"} {
		want := rows["k-"+name[len(name)-1:]].Addresses
		if strings.HasPrefix(name, "svc") {
			want = rows["k-c"].Addresses
		}
		poll(t, 10*time.Second, "DNS without the daemon", func() error {
			r := command(t.Context(), "", nil, "nsenter", "-t", fmt.Sprint(pid), "-n", "-m", "--root=/proc/"+fmt.Sprint(pid)+"/root", "/bin/nslookup", "-type=a", fqdn(name))
			if r.code != 0 || !strings.Contains(r.stdout, want[0]) {
				return fmt.Errorf("%s, want %s: %s", name, want, r)
			}
			return nil
		})
	}
}

func fqdn(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return name + ".kill.rex.internal"
}

func allHealthy(h *host, n int) error {
	rows, err := h.rows()
	if err != nil {
		return err
	}
	if len(rows) != n {
		return fmt.Errorf("%d jails, want %d", len(rows), n)
	}
	for name, r := range rows {
		if r.Phase != "running" || r.Health != "healthy" {
			return fmt.Errorf("%s: %+v", name, r)
		}
	}
	return nil
}

// deathsAreNoticedAfterwards: what dies while nobody watches is started again.
func deathsAreNoticedAfterwards(t *testing.T, h *host, pids map[string]int) {
	t.Helper()
	h.kill(t)
	if err := syscall.Kill(pids["k-c"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	poll(t, 30*time.Second, "k-c runs again", func() error {
		rows, err := h.rows()
		if err != nil {
			return err
		}
		r := rows["k-c"]
		if pid := h.pid(r.UUID); pid == 0 || pid == pids["k-c"] || r.Phase != "running" || r.Restarts != 1 {
			return fmt.Errorf("pid %d, %+v", pid, r)
		}
		return nil
	})
	for _, name := range []string{"k-a", "k-b"} {
		if r := h.ps(t)[name]; h.pid(r.UUID) != pids[name] || r.Restarts != 0 {
			t.Errorf("%s was disturbed: %+v", name, r)
		}
	}
}

func TestAnUpgradedDaemonAdoptsJailsAndReplacesRouters(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.program = filepath.Join(h.dir, "rexcarcer")
	install := func() {
		t.Helper()
		// By cp: a descriptor of ours that is open for writing could be inherited by a child that another test starts
		// just now, and the kernel then refuses to run the program ("text file busy").
		for _, argv := range [][]string{{"rm", "-f", h.program}, {"cp", rexcarcer, h.program}} {
			if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", argv, err, out)
			}
		}
	}
	install()
	h.start(t)
	h.apply(t, file("up", "10.172.3.0/24", box("up-1", "up", web, service("site", "500ms")), box("up-2", "up", forever)))
	router := "rex-router-" + decode[[]api.NetworkRow](t, h, "network", "ls")[0].ID
	pids, old := h.pids(t, "up"), h.pidOf(router)
	if err := h.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	install()
	h.start(t)
	poll(t, 20*time.Second, "the new router runs", func() error {
		if pid := h.pidOf(router); pid == 0 || pid == old {
			return fmt.Errorf("router has pid %d, was %d", pid, old)
		}
		if r := h.ctl("exec", "up-2", "--", "nslookup", "-type=a", "site.up.rex.internal"); r.code != 0 {
			return errors.New(r.String())
		}
		return nil
	})
	if now := h.pids(t, "up"); !maps.Equal(now, pids) {
		t.Errorf("jails have %v, had %v", now, pids)
	}
}
