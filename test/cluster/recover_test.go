package cluster

import (
	"strings"
	"testing"
)

// TestALoneSurvivorGoesOn is case 19 of the failures: two of three are lost for
// good. The survivor recovers, and those that come back after all are refused.
func TestALoneSurvivorGoesOn(t *testing.T) {
	t.Parallel()
	all := form(t, "ten", "eleven", "twelve")
	settled(t, all[0], 3, 3)
	all[0].must(t, "apply", wish(t, 3), "--yes", "--wait=healthy")
	imageOn(t, all[2], 3)
	for _, d := range all {
		d.kill()
	}
	survivor := all[2]
	if r := command(nil, append([]string{rexcarcer, "recover"}, survivor.flags...)...); r.code != 64 || !strings.Contains(r.stderr, "lost") {
		t.Errorf("without -yes: %s", r)
	}
	if r := command(nil, append([]string{rexcarcer, "recover", "-yes"}, survivor.flags...)...); r.code != 0 || !strings.Contains(r.stdout, "generation 1") {
		t.Fatal(r)
	}
	survivor.start(t)
	settled(t, survivor, 1, 1)
	running(t, survivor, 3, "ten", "eleven")
	all[0].spawn(t)
	all[1].spawn(t)
	survivor.must(t, "jail", "restart", "web-1", "--yes")
	running(t, survivor, 3, "ten", "eleven")
	if hosts, err := survivor.hosts(); err != nil || len(hosts) != 1 {
		t.Errorf("after the others came back: %v, %v", hosts, err)
	}
	// A new host joins the survivor.
	next := prepare(t, "thirteen")
	if r := next.join(survivor, strings.TrimSpace(survivor.must(t, "token", "create", "--role", "server", "-q"))); r.code != 0 {
		t.Fatal(r)
	}
	next.start(t)
	settled(t, survivor, 2, 1)
}
