package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
)

// TestOnlyAGoodTokenAdmits is case 28 of the failures, end to end.
func TestOnlyAGoodTokenAdmits(t *testing.T) {
	t.Parallel()
	// It began as a cluster of one that nobody could join.
	one := prepare(t, "seven")
	port := one.port
	one.listenOn(0)
	one.start(t)
	one.kill()
	one.listenOn(port)
	one.start(t)
	token := func(args ...string) string {
		return strings.TrimSpace(one.must(t, append([]string{"token", "create", "-q"}, args...)...))
	}
	const refused = "the token is not accepted here"
	guest := prepare(t, "eight")
	for name, c := range map[string]struct {
		token string
		flags []string
	}{
		"wrong role": {token("--role", "host"), []string{"-role", "server"}},
		"expired":    {expired(t, one, token("--role", "host", "--ttl", "1s")), nil},
		"revoked":    {revoked(t, one, token("--role", "host")), nil},
		"unknown":    {changed(token("--role", "host"), 2), nil},
		"stolen id":  {changed(token("--role", "host"), 3), nil},
	} {
		if r := guest.join(one, c.token, c.flags...); r.code == 0 || !strings.Contains(r.stderr, refused) {
			t.Errorf("%s: %s", name, r)
		}
	}
	if r := guest.join(one, changed(token("--role", "host"), 1)); r.code == 0 || !strings.Contains(r.stderr, "nothing secret was sent") {
		t.Errorf("another CA: %s", r)
	}
	poll(t, patience, "what was refused is an event", func() error {
		if got := one.must(t, "events", "--since", "0", "-o", "json"); !strings.Contains(got, "join_refused") {
			return fmt.Errorf("%s", got)
		}
		return nil
	})

	good := token("--role", "host")
	if r := guest.join(one, good); r.code != 0 {
		t.Fatal(r)
	}
	if r := guest.join(one, good); r.code != 0 || !strings.Contains(r.stdout, "joined already") {
		t.Errorf("joined twice: %s", r)
	}
	thief := prepare(t, "nine")
	if r := thief.join(one, good); r.code == 0 || !strings.Contains(r.stderr, refused) {
		t.Errorf("a token that was used: %s", r)
	}
	guest.start(t)
	settled(t, one, 2, 1)

	// A host holds the State and runs jails; it neither votes nor writes.
	one.must(t, "apply", wish(t, 4), "--yes", "--wait=healthy")
	on := map[string]bool{}
	for _, r := range running(t, guest, 4) {
		on[r.Host] = true
	}
	if !on["eight"] {
		t.Errorf("the jails are on %v, want some on host eight", on)
	}
	if r := guest.ctl("jail", "restart", "web-1", "--yes"); r.code == 0 || !strings.Contains(r.stderr, "ask a server") {
		t.Errorf("a write on a host without a vote: %s", r)
	}

	// Out for good.
	if r := one.ctl("host", "rm", "eight", "--yes"); r.code == 0 || !strings.Contains(r.stderr, "drain") {
		t.Errorf("a host that is alive was removed: %s", r)
	}
	one.must(t, "host", "rm", "eight", "--force", "--yes")
	running(t, one, 4, "eight")
	if hosts, err := one.hosts(); err != nil || len(hosts) != 1 {
		t.Errorf("after the removal: %v, %v", hosts, err)
	}
}

// changed replaces one part of a token by that of nobody.
func changed(token string, part int) string {
	parts := strings.Split(token, "-")
	first := byte('a')
	if parts[part][0] == 'a' {
		first = 'b'
	}
	parts[part] = string(first) + parts[part][1:]
	return strings.Join(parts, "-")
}

func revoked(t *testing.T, d *daemon, token string) string {
	t.Helper()
	d.must(t, "token", "revoke", strings.Split(token, "-")[2], "--yes")
	return token
}

// expired waits until the token's state says so.
func expired(t *testing.T, d *daemon, token string) string {
	t.Helper()
	poll(t, patience, "the token expires", func() error {
		rows, err := ask[[]api.TokenRow](d, "token", "ls")
		for _, r := range rows {
			if r.ID == strings.Split(token, "-")[2] && r.State == "it has expired" {
				return nil
			}
		}
		return fmt.Errorf("%+v, %v", rows, err)
	})
	return token
}
