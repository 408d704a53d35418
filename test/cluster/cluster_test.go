package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

const patience = 90 * time.Second // of a wait on a busy machine

// form makes a cluster of servers, the first of which founded it.
func form(t *testing.T, names ...string) []*daemon {
	t.Helper()
	var all []*daemon
	for i, name := range names {
		d := prepare(t, name)
		if i == 0 {
			if r := command(nil, append([]string{rexcarcer, "init"}, d.flags...)...); r.code != 0 {
				t.Fatal(r)
			}
		} else {
			token := strings.TrimSpace(all[0].must(t, "token", "create", "--role", "server", "-q"))
			if r := d.join(all[0], token); r.code != 0 {
				t.Fatal(r)
			}
		}
		d.start(t)
		all = append(all, d)
	}
	return all
}

// settled waits until the host asked sees so many members alive and voting.
func settled(t *testing.T, d *daemon, alive, voters int) {
	t.Helper()
	poll(t, patience, fmt.Sprintf("%d alive, %d voters", alive, voters), func() error {
		hosts, err := d.hosts()
		if err != nil {
			return err
		}
		a, v, l := 0, 0, 0
		for _, h := range hosts {
			if h.State == "alive" {
				a++
			}
			if h.Voter {
				v++
			}
			if h.Leader {
				l++
			}
		}
		if a != alive || v != voters || l != 1 {
			return fmt.Errorf("%d alive, %d voters, %d leaders: %+v", a, v, l, hosts)
		}
		return nil
	})
}

// leader is who leads, as the others see it.
func leader(t *testing.T, all []*daemon) (leads *daemon, rest []*daemon) {
	t.Helper()
	poll(t, patience, "somebody leads", func() error {
		leads, rest = nil, nil
		hosts, err := all[0].hosts()
		for _, d := range all {
			if hosts[d.name].Leader {
				leads = d
			} else {
				rest = append(rest, d)
			}
		}
		if leads == nil {
			return fmt.Errorf("nobody leads: %v, %v", hosts, err)
		}
		return nil
	})
	return leads, rest
}

// running waits until n jails run, none of them on a host that is in not.
func running(t *testing.T, d *daemon, n int, not ...string) map[string]api.JailRow {
	t.Helper()
	out := map[string]api.JailRow{}
	poll(t, patience, fmt.Sprintf("%d jails run, none on %v", n, not), func() error {
		rows, err := ask[[]api.JailRow](d, "ps")
		if err != nil {
			return err
		}
		clear(out)
		for _, r := range rows {
			if r.Phase == "running" && r.Health == "healthy" && !strings.Contains(strings.Join(not, " "), r.Host) {
				out[r.Name] = r
			}
		}
		if len(out) != n {
			return fmt.Errorf("%d run: %+v", len(out), rows)
		}
		return nil
	})
	return out
}

// imageOn waits until the one image is on n hosts: it must not die with one.
func imageOn(t *testing.T, d *daemon, n int) {
	t.Helper()
	poll(t, patience, fmt.Sprintf("the image is on %d hosts", n), func() error {
		builds, err := ask[[]api.BuildRow](d, "api", "GET", "/v1/builds")
		if err != nil || len(builds) != 1 || len(builds[0].Hosts) != n {
			return fmt.Errorf("%+v, %v", builds, err)
		}
		return nil
	})
}

// sameHistory wants the same chain at the same index on all hosts.
func sameHistory(t *testing.T, all []*daemon) {
	t.Helper()
	poll(t, patience, "all hosts have the same history", func() error {
		seen := map[string]string{}
		for _, d := range all {
			s, err := ask[api.Status](d, "status")
			if err != nil {
				return err
			}
			seen[fmt.Sprintf("%d %s", s.Index, s.Chain)] = d.name
		}
		if len(seen) != 1 {
			return fmt.Errorf("they differ: %v", seen)
		}
		return nil
	})
}

// TestAClusterLosesItsLeaderAndGoesOn: three servers, one of them killed while
// it leads; its jails start elsewhere, writes go on, and it comes back.
func TestAClusterLosesItsLeaderAndGoesOn(t *testing.T) {
	t.Parallel()
	all := form(t, "one", "two", "three")
	settled(t, all[1], 3, 3)
	all[2].must(t, "apply", wish(t, 6), "--yes", "--wait=healthy") // any host will do
	before := running(t, all[1], 6)
	on := map[string]int{}
	for _, r := range before {
		on[r.Host]++
	}
	if len(on) != 3 {
		t.Errorf("the jails are on %v, want them on three hosts", on)
	}
	imageOn(t, all[0], 3)

	// A jail's output is had from any server.
	for name, r := range before {
		for _, d := range all {
			if got := d.must(t, "logs", name); got != all[0].must(t, "logs", name) {
				t.Errorf("the log of %s, which is on %s, is another at %s: %s", name, r.Host, d.name, got)
			}
			if r := d.ctl("exec", name, "--", "true"); strings.Contains(r.stderr, "set REX_ADDR") {
				t.Errorf("exec in %s at %s: %s", name, d.name, r)
			}
		}
	}

	leads, rest := leader(t, all)
	leads.kill()
	begun := time.Now()
	poll(t, patience, "a write is taken again", func() error {
		if r := rest[0].ctl("jail", "restart", "web-1", "--yes"); r.code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	})
	t.Logf("kill -9 of the leader: a write is taken after %s", time.Since(begun).Round(10*time.Millisecond))
	after := running(t, rest[1], 6, leads.name)
	t.Logf("kill -9 of the leader: its jails run elsewhere after %s", time.Since(begun).Round(10*time.Millisecond))
	for name, r := range after {
		if fmt.Sprint(r.Addresses) != fmt.Sprint(before[name].Addresses) {
			t.Errorf("%s had %v, and has %v", name, before[name].Addresses, r.Addresses)
		}
	}
	if got := rest[0].must(t, "events", "--since", "0", "-o", "json"); !strings.Contains(got, "host_marked") {
		t.Error("no event tells that the host was lost")
	}
	// A read that must be newest works on the rest, too.
	rest[1].must(t, "api", "GET", "/v1/jails?consistent")

	leads.start(t)
	settled(t, rest[0], 3, 3)
	sameHistory(t, all)

	rest[0].must(t, "host", "drain", rest[1].name)
	running(t, all[0], 6, rest[1].name)
	rest[1].must(t, "host", "undrain", rest[1].name)
	settled(t, all[0], 3, 3)
}

// TestWithoutAQuorumNothingIsWrittenAndMuchGoesOn is case 7 of the failures.
func TestWithoutAQuorumNothingIsWrittenAndMuchGoesOn(t *testing.T) {
	t.Parallel()
	all := form(t, "four", "five", "six")
	settled(t, all[0], 3, 3)
	all[0].must(t, "apply", wish(t, 3), "--yes", "--wait=healthy")
	all[1].kill()
	all[2].kill()
	poll(t, patience, "writes are refused, and say why", func() error {
		begun := time.Now()
		r := all[0].ctl("jail", "restart", "web-1", "--yes")
		if r.code == 0 || !strings.Contains(r.stderr, "no leader") {
			return fmt.Errorf("%s", r)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("the refusal took %s", took)
		}
		return nil
	})
	if got := all[0].must(t, "ps"); !strings.Contains(got, "web-3") {
		t.Errorf("without a quorum nothing can be read: %s", got)
	}
	if r := all[0].ctl("api", "GET", "/v1/jails?consistent"); r.code == 0 {
		t.Errorf("a consistent read was answered without a quorum: %s", r)
	}
	poll(t, patience, "it says how old its answers are", func() error { return told(all[0]) })
	all[1].spawn(t)
	all[2].move(t) // case 18: it comes back under another address
	all[2].spawn(t)
	settled(t, all[0], 3, 3)
	running(t, all[0], 3)
	sameHistory(t, all)
	poll(t, patience, "the address is followed, and all know how far all are", func() error {
		hosts, err := all[1].hosts()
		if h := hosts["six"]; err != nil || h.Addr != all[2].addr() || h.AppliedIndex == 0 || hosts["four"].AppliedIndex == 0 {
			return fmt.Errorf("%+v, %v", hosts, err)
		}
		return nil
	})
}
