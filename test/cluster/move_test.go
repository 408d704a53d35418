package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
)

// volumes declares jails web-1 and web-2 with a volume each.
func volumes(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cluster.hcl")
	text := `cluster "demo" {}
network "n" {
  subnet = "10.66.0.0/24"
}
image "base" {
  base = "host:/"
}
jail "web" {
  count   = 2
  image   = "base"
  network = "n"
  command = ["serve"]
  volume "data" {
    path = "/data"
  }
}
`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func movesOf(d *daemon, object string) (last api.MoveRow, err error) {
	rows, err := ask[[]api.MoveRow](d, "move", "ls")
	for _, r := range rows {
		if r.Object == object {
			last = r
		}
	}
	return last, err
}

// TestAMoveOutlivesItsLeader: the leader is killed as soon as a move was asked
// for, once while it takes part in it and once while it does not. The next
// leader takes the move to its end; address, name and uuid stay.
func TestAMoveOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	all := form(t, "forty", "fifty", "sixty")
	settled(t, all[0], 3, 3)
	all[0].must(t, "apply", volumes(t), "--yes", "--wait=healthy")
	for round, part := range []bool{true, false} {
		before := running(t, all[0], 2)
		imageOn(t, all[0], 3)
		leads, rest := leader(t, all)
		was := before["web-1"]
		// From where it is to a host that is the leader, or neither.
		to := leads.name
		if !part || was.Host == leads.name {
			to = ""
			for _, d := range rest {
				if d.name != was.Host {
					to = d.name
				}
			}
		}
		rest[0].must(t, "jail", "move", "web-1", "--to", to, "--detach")
		leads.kill()
		var m api.MoveRow
		poll(t, patience, "the move has ended, and the jails run", func() (err error) {
			if m, err = movesOf(rest[0], "web-1"); err != nil || m.Phase != "done" && m.Phase != "failed" {
				return fmt.Errorf("%+v, %v", m, err)
			}
			return nil
		})
		leads.start(t)
		settled(t, rest[0], 3, 3)
		now := running(t, rest[0], 2)["web-1"]
		if want := map[string]string{"done": to, "failed": was.Host}[m.Phase]; now.Host != want || now.UUID != was.UUID || fmt.Sprint(now.Addresses) != fmt.Sprint(was.Addresses) {
			t.Errorf("round %d: the move from %s to %s is %s, and the jail is %+v, was %+v", round, was.Host, to, m.Phase, now, was)
		}
		poll(t, patience, "both hosts have tidied up", func() error {
			if m, err := movesOf(rest[0], "web-1"); err != nil || !m.Clean {
				return fmt.Errorf("%+v, %v", m, err)
			}
			return nil
		})
		t.Logf("kill -9 of the leader %s during a move of web-1 from %s to %s: it is %s %s", leads.name, was.Host, to, m.Phase, m.Error)
	}
	sameHistory(t, all)
}
