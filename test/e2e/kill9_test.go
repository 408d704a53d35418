//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
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

// leases by jail; an address that two have is an error.
func leases(t *testing.T, h *host) map[string]netip.Addr {
	t.Helper()
	out, owner := map[string]netip.Addr{}, map[netip.Addr]string{}
	for _, l := range decode[[]api.LeaseRow](t, h, "network", "leases") {
		if was, taken := owner[l.Address]; taken {
			t.Errorf("%s belongs to %s and to %s", l.Address, was, l.Jail)
		}
		owner[l.Address] = l.Jail
		if !l.Resting {
			out[l.Jail] = l.Address
		}
	}
	return out
}

// storm is what the jails of the storm are in one round.
func storm(round int) string {
	var all []string
	// Kept by all rounds, changed by each second one, and there in each third one.
	all = append(all, box("keep-a", "storm", forever), box("keep-b", "storm", forever, "volume \"data\" { path = \"/data\" }"))
	all = append(all, box("change", "storm", forever, fmt.Sprintf("env = { ROUND = \"%d\" }", round/2), "restart { backoff = \"50ms\" }"))
	for i := range 3 {
		if (round+i)%3 != 0 {
			all = append(all, box(fmt.Sprintf("come-%d", i), "storm", forever, fmt.Sprintf("limits { memory = \"%dM\" }", 16+round)))
		}
	}
	return file("storm", "10.172.2.0/24", all...)
}

func TestKill9AtAnyMomentOfAnApplyConverges(t *testing.T) {
	t.Parallel()
	const rounds = 15
	h := newHost(t)
	h.start(t)
	h.apply(t, storm(0))
	kept := leases(t, h)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // moments, not secrets
	for round := 1; round <= rounds; round++ {
		path := h.write(t, "storm.hcl", storm(round))
		done := make(chan struct{})
		go func() { defer close(done); h.ctl("apply", path, "--yes", "--timeout", "5s") }() // it may or may not get through
		moment := time.Duration(random.IntN(400)) * time.Millisecond
		<-time.After(moment)
		h.kill(t)
		<-done
		if round%2 == 0 { // and once more, in the middle of the adoption
			if err := h.spawn(); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Duration(random.IntN(900)) * time.Millisecond)
			h.kill(t)
		}
		h.start(t)
		h.apply(t, storm(round))
		names := converged(t, h, round, moment)
		now := leases(t, h)
		for _, name := range []string{"keep-a", "keep-b", "change"} {
			if now[name] != kept[name] {
				t.Errorf("round %d, killed after %s: %s had %s and has %s", round, moment, name, kept[name], now[name])
			}
		}
		if got := slices.Sorted(maps.Keys(now)); !slices.Equal(got, names) {
			t.Errorf("round %d, killed after %s: leases of %q, jails are %q", round, moment, got, names)
		}
		if t.Failed() {
			return
		}
	}
	want := counted(t, h.data, h.run)
	h.apply(t, storm(rounds)) // nothing
	for name, r := range h.ps(t) {
		if strings.HasPrefix(name, "keep-") && r.Restarts != 0 {
			t.Errorf("%s was restarted %d times by deaths of the daemon", name, r.Restarts)
		}
	}
	// Another daemon would have as many things for as many jails: start over and compare.
	h.destroy(t, "storm")
	poll(t, 30*time.Second, "nothing is left of the jails", func() error {
		if left := jailThings(t, h); len(left) > 0 {
			return errors.New(strings.Join(left, "\n"))
		}
		return nil
	})
	if left := h.files(t); len(left) > 0 {
		t.Errorf("files of jails that are gone: %q", left)
	}
	h.apply(t, storm(rounds))
	poll(t, 30*time.Second, "as many things as before", func() error {
		if got := counted(t, h.data, h.run); got != want {
			return fmt.Errorf("fresh: %s; after %d kills: %s", got, rounds, want)
		}
		return nil
	})
}

// converged waits until the jails are those of the round, and no others, each
// with the things of one jail.
func converged(t *testing.T, h *host, round int, moment time.Duration) (names []string) {
	t.Helper()
	for i := range 3 {
		if (round+i)%3 != 0 {
			names = append(names, fmt.Sprintf("come-%d", i))
		}
	}
	names = append(names, "change", "keep-a", "keep-b")
	slices.Sort(names)
	poll(t, 60*time.Second, fmt.Sprintf("round %d, killed after %s", round, moment), func() error {
		if err := allHealthy(h, len(names)); err != nil {
			return err
		}
		rows := h.ps(t)
		if got := slices.Sorted(maps.Keys(rows)); !slices.Equal(got, names) {
			return fmt.Errorf("jails are %q, want %q", got, names)
		}
		ports := 0
		links, err := leftLinks(instance(h.data), "", "")
		for _, l := range links {
			if strings.HasPrefix(l, "interface rh") {
				ports++
			}
		}
		if ports != len(names) {
			return errors.Join(err, fmt.Errorf("%d ports of jails, want %d: %q", ports, len(names), links))
		}
		return err
	})
	env := h.must(t, "exec", "change", "--", "sh", "-c", "tr '\\0' '\\n' </proc/1/environ")
	if want := fmt.Sprintf("ROUND=%d\n", round/2); !strings.Contains(env, want) {
		t.Errorf("round %d, killed after %s: change runs with %q, want %s", round, moment, env, want)
	}
	return names
}

// files are what the daemon keeps of single jails: roots, keys, logs, state.
func (h *host) files(t *testing.T) (out []string) {
	t.Helper()
	for _, pattern := range []string{
		filepath.Join(h.data, "storage", "jails", "*"), filepath.Join(h.data, "storage", "staging", "*"), filepath.Join(h.data, "keys", "*"),
		filepath.Join(h.dir, "log", "*-*-*-*.log*"), filepath.Join(h.run, instance(h.data), "jails", "rex-????????-*"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

// jailThings are processes, mounts, links and cgroups of jails; networks may
// have some of their own for later.
func jailThings(t *testing.T, h *host) (out []string) {
	t.Helper()
	for _, look := range []func(mark, data, run string) ([]string, error){leftMounts, leftLinks, leftCgroups} {
		found, err := look(instance(h.data), h.data, h.run)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if strings.Contains(f, "rex-") && !strings.Contains(f, "rex-router-") || strings.Contains(f, "/storage/jails/") || strings.HasPrefix(f, "interface rh") {
				out = append(out, f)
			}
		}
	}
	return out
}

func TestAnUpgradedDaemonAdoptsJailsAndReplacesRouters(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.program = filepath.Join(h.dir, "rexcarcer")
	install := func() {
		t.Helper()
		b, err := os.ReadFile(rexcarcer)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(h.program); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.program, b, 0o755); err != nil {
			t.Fatal(err)
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
