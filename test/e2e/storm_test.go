//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

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
		moment := killDuring(t, h, random, storm(round))
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
	asFewThingsAsAFreshOne(t, h, storm(rounds))
}

// killDuring applies text and kills the daemon a moment later.
func killDuring(t *testing.T, h *host, random *rand.Rand, text string) (moment time.Duration) {
	t.Helper()
	path := h.write(t, "storm.hcl", text)
	done := make(chan struct{})
	go func() { defer close(done); h.ctl("apply", path, "--yes", "--timeout", "5s") }() // it may or may not get through
	moment = time.Duration(random.IntN(400)) * time.Millisecond
	<-time.After(moment)
	h.kill(t)
	<-done
	return moment
}

// asFewThingsAsAFreshOne compares what the machine has of text now with what it
// has after everything was removed and made again.
func asFewThingsAsAFreshOne(t *testing.T, h *host, text string) {
	t.Helper()
	want := counted(t, h.data, h.run)
	h.apply(t, text) // nothing
	for name, r := range h.ps(t) {
		if strings.HasPrefix(name, "keep-") && r.Restarts != 0 {
			t.Errorf("%s was restarted %d times by deaths of the daemon", name, r.Restarts)
		}
	}
	// Another daemon would have as many things for as many jails: start over and compare.
	h.destroy(t, "storm")
	poll(t, 30*time.Second, "nothing is left of the jails", func() error {
		if left := append(jailThings(t, h), h.files(t)...); len(left) > 0 {
			return errors.New(strings.Join(left, "\n"))
		}
		return nil
	})
	h.apply(t, text)
	poll(t, 30*time.Second, "as many things as before", func() error {
		if got := counted(t, h.data, h.run); got != want {
			return fmt.Errorf("fresh: %s; after the kills: %s", got, want)
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
