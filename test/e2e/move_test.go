//go:build linux

package e2e

import (
	"encoding/json"
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

// pair is two daemons of one cluster; the first leads.
func pair(t *testing.T, first, second string, flags ...string) (a, b *host) {
	t.Helper()
	a, addr := member(t, first)
	a.flags = append(a.flags, flags...)
	b, _ = member(t, second)
	b.flags = append(b.flags, flags...)
	pairUp(t, a, addr, b, second)
	return a, b
}

// pairUp starts a, whose cluster port is addr, and lets b join it.
func pairUp(t *testing.T, a *host, addr string, b *host, second string) {
	t.Helper()
	a.start(t)
	token := strings.TrimSpace(a.must(t, "token", "create", "--role", "host", "-q"))
	join := append([]string{rexcarcer, "join", addr, "-token", token}, b.flags...)
	if r := command(t.Context(), "", nil, join...); r.code != 0 {
		t.Fatal(r)
	}
	b.start(t)
	poll(t, time.Minute, second+" is alive", func() error {
		for _, h := range decode[[]api.HostRow](t, a, "host", "ls") {
			if h.Name == second && h.State == "alive" {
				return nil
			}
		}
		return fmt.Errorf("it is not")
	})
}

// keeper declares one jail with a volume, whose processes can be told apart
// from all others of this machine by mark.
func keeper(t *testing.T, h *host, wish, mark, more string) {
	t.Helper()
	mark = ours(mark)
	rex := h.write(t, wish+".rex", "BASE "+base+"\nRUN echo "+mark+" >/mark\n")
	h.apply(t, `
cluster "`+wish+`" {}

image "`+wish+`" {
  rexfile = "`+filepath.Base(rex)+`"
}

jail "db" {
  image   = "`+wish+`"
  network = "none"
  command = ["/bin/sh", "-c", "trap 'sleep 0.5; exit 0' TERM; while :; do date +%s.%N >/data/beat; sleep 0.1; done", "`+mark+`"]
  volume "data" {
    path = "/data"
  }
`+more+`
}
`)
}

// ours is a mark that no other run of these tests has on this machine.
func ours(mark string) string { return fmt.Sprintf("%s-%d", mark, os.Getpid()) }

// running counts the first processes whose command line has mark: those that
// a marked one has just forked, and that are not yet another program, are none.
func running(t *testing.T, mark string) int {
	t.Helper()
	mark = ours(mark)
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	parent := map[string]string{} // of those that are marked
	for _, name := range names {
		b, err := os.ReadFile(name)
		stat, serr := os.ReadFile(filepath.Join(filepath.Dir(name), "stat"))
		args := strings.Split(string(b), "\x00")
		if err != nil || serr != nil || len(args) < 4 || args[0] != "/bin/sh" || args[3] != mark {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[0] != "Z" {
			parent[filepath.Base(filepath.Dir(name))] = fields[1]
		}
	}
	n := 0
	for _, p := range parent {
		if _, forked := parent[p]; !forked {
			n++
		}
	}
	return n
}

// lastMove is the newest move of an object, as h knows it.
func lastMove(h *host, object string) (api.MoveRow, error) {
	r := h.ctl("move", "ls", "-o", "json")
	if r.code != 0 {
		return api.MoveRow{}, fmt.Errorf("move ls: %s", r)
	}
	var rows []api.MoveRow
	if err := json.Unmarshal([]byte(r.stdout), &rows); err != nil {
		return api.MoveRow{}, fmt.Errorf("move ls: %w", err)
	}
	rows = slices.DeleteFunc(rows, func(r api.MoveRow) bool { return r.Object != object })
	if len(rows) == 0 {
		return api.MoveRow{}, fmt.Errorf("no move of %s is known", object)
	}
	return rows[len(rows)-1], nil
}

// volumesOn are the names of what the host called name has.
func volumesOn(t *testing.T, h *host, name string) (names []string) {
	t.Helper()
	for _, v := range decode[[]api.VolumeRow](t, h, "volume", "ls", "--host", name) {
		names = append(names, v.Name)
	}
	return names
}

var movedLine = regexp.MustCompile(`^moved db from \w+ to \w+: [0-9.]+ \w+, down for [0-9]+\.[0-9]{2} s\n$`)

// TestAJailMovesWithItsVolumes: what was written until the jail was stopped is
// on the other host, with the volume's snapshots; name and uuid stay, nothing
// stays behind, and it can go back.
func TestAJailMovesWithItsVolumes(t *testing.T) {
	t.Parallel()
	a, b := pair(t, "left", "right")
	keeper(t, a, "moving", "mark-moves", "  placement {\n    constraint = \"host != nowhere\"\n    affinity = \"host == left\"\n  }")
	was := a.ps(t)["db"]
	from, to := a, b
	if was.Host == "right" {
		from, to = b, a
	}
	name := func(h *host) string { return map[*host]string{a: "left", b: "right"}[h] }
	a.must(t, "exec", "db", "--", "sh", "-c", "head -c 3000000 /dev/urandom >/data/big; ln /data/big /data/twin; chown 7:8 /data/big; mkfifo /data/pipe; ln -s big /data/link; mkdir -m 700 /data/d; echo old >/data/gone")
	a.must(t, "volume", "snapshot", "moving.db.data@kept", "--host", name(from))
	a.must(t, "exec", "db", "--", "rm", "/data/gone")
	sum := a.must(t, "exec", "db", "--", "sha256sum", "/data/big")
	list := "cd /data && find . ! -name beat -exec stat -c '%n %F %a %u %g %h %s' {} + | sort"
	tree := a.must(t, "exec", "db", "--", "sh", "-c", list)

	for range 2 {
		a.must(t, "exec", "db", "--", "sh", "-c", "echo note-from-"+name(from)+" >/data/note")
		r := a.ctl("jail", "move", "db", "--to", name(to))
		if r.code != 0 || !movedLine.MatchString(r.stdout) {
			t.Fatalf("move from %s to %s: %s", name(from), name(to), r)
		}
		t.Logf("%s%s", r.stderr, r.stdout)
		now := a.ps(t)["db"]
		if now.Host != name(to) || now.UUID != was.UUID || now.Phase != "running" {
			t.Errorf("after the move: %+v, before: %+v", now, was)
		}
		if n := running(t, "mark-moves"); n != 1 {
			t.Errorf("%d of it run", n)
		}
		if got := a.must(t, "exec", "db", "--", "cat", "/data/note"); got != "note-from-"+name(from)+"\n" {
			t.Errorf("what was written right before the move is %q", got)
		}
		a.must(t, "exec", "db", "--", "rm", "/data/note")
		if got := a.must(t, "exec", "db", "--", "sha256sum", "/data/big"); got != sum {
			t.Errorf("the data are %q, were %q", got, sum)
		}
		if got := a.must(t, "exec", "db", "--", "sh", "-c", list); got != tree {
			t.Errorf("the files are\n%s\nwere\n%s", got, tree)
		}
		poll(t, time.Minute, "both hosts have tidied up", func() error {
			m, err := lastMove(a, "db")
			if err != nil || !m.Clean {
				return fmt.Errorf("%+v, %v", m, err)
			}
			return nil
		})
		if got := volumesOn(t, a, name(from)); len(got) != 0 {
			t.Errorf("%s still has the volumes %v", name(from), got)
		}
		show := decode[api.VolumeShow](t, a, "volume", "show", "moving.db.data", "--host", name(to))
		if len(show.Snapshot) != 1 || show.Snapshot[0].Name != "kept" || show.Host != name(to) {
			t.Errorf("the volume there is %+v, want it with its snapshot and no other", show)
		}
		from, to = to, from
	}
	refusedMoves(t, a)
	forcedMove(t, a, sum)
	a.destroy(t, "moving")
	movesAlone(t, a)
}

// refusedMoves: what cannot be done says why, and the jail does not notice.
func refusedMoves(t *testing.T, a *host) {
	t.Helper()
	before := a.ps(t)["db"]
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "mars", []string{"jail", "move", "db", "--to", "mars"}},
		{1, "is on host " + before.Host + " already", []string{"jail", "move", "db", "--to", before.Host}},
		{1, "nobody", []string{"jail", "move", "nobody", "--to", "right"}},
		{64, "--to HOST", []string{"jail", "move", "db"}},
		{64, "--to HOST", []string{"jail", "move", "db", "--to", "right", "--cancel"}},
		{1, "none that goes on", []string{"jail", "move", "db", "--cancel"}},
		{1, "belongs to jail db", []string{"volume", "move", "db.data", "--to", "right"}},
		{1, "no host has such a volume", []string{"volume", "move", "nothing", "--to", "right"}},
	} {
		r := a.ctl(c.args...)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("rexctl %v: %s\nwant exit code %d and %q", c.args, r, c.code, c.want)
		}
	}
	if now := a.ps(t)["db"]; now.Host != before.Host || now.Restarts != before.Restarts || now.Phase != "running" {
		t.Errorf("after the refusals: %+v, before: %+v", now, before)
	}
}

// forcedMove: what the file forbids is done by force only; a host that drains
// sends the jail back to where the file wants it.
func forcedMove(t *testing.T, a *host, sum string) {
	t.Helper()
	here := a.ps(t)["db"].Host
	there := map[string]string{"left": "right", "right": "left"}[here]
	keeper(t, a, "moving", "mark-moves", "  placement {\n    constraint = \"host == "+here+"\"\n  }")
	if r := a.ctl("jail", "move", "db", "--to", there); r.code != 1 || !strings.Contains(r.stderr, "does not satisfy host == "+here) || !strings.Contains(r.stderr, "--force") {
		t.Errorf("a move that the file forbids: %s", r)
	}
	a.must(t, "jail", "move", "db", "--to", there, "--force")
	if now := a.ps(t)["db"]; now.Host != there {
		t.Errorf("by force it is on %s, want %s", now.Host, there)
	}
	a.must(t, "host", "drain", there)
	poll(t, time.Minute, "it has left the host that drains, with its data", func() error {
		row, err := a.rows()
		if err != nil || row["db"].Host != here || row["db"].Phase != "running" {
			return fmt.Errorf("%+v, %v", row["db"], err)
		}
		if r := a.ctl("exec", "db", "--", "sha256sum", "/data/big"); r.stdout != sum {
			return fmt.Errorf("%s, want %s", r, sum)
		}
		return nil
	})
	a.must(t, "host", "undrain", there)
	poll(t, time.Minute, "both hosts have tidied up", func() error {
		if m, err := lastMove(a, "db"); err != nil || !m.Clean || m.Phase != "done" || !strings.Contains(m.Reason, "drains") {
			return fmt.Errorf("%+v, %v", m, err)
		}
		return nil
	})
}

// movesAlone: a volume that outlived its jail goes to the other host and back.
func movesAlone(t *testing.T, a *host) {
	t.Helper()
	for range 2 {
		from, to := "left", "right"
		if len(volumesOn(t, a, from)) == 0 {
			from, to = to, from
		}
		a.must(t, "volume", "move", "db.data", "--to", to)
		poll(t, time.Minute, "the old copy goes", func() error {
			if m, err := lastMove(a, "moving.db.data"); err != nil || !m.Clean {
				return fmt.Errorf("%+v, %v", m, err)
			}
			return nil
		})
		if here, there := volumesOn(t, a, from), volumesOn(t, a, to); len(here) != 0 || len(there) != 1 {
			t.Errorf("the old host has %v, the new one %v", here, there)
		}
	}
}
