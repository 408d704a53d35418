//go:build linux

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// phases of a move that a kill can meet, in order.
var movePhases = []string{"asked", "copied", "stopped", "placed"}

// TestAMoveSurvivesKill9 kills the source's or the target's daemon as soon as a
// move has come to a phase, and starts it again: the move goes on or is undone,
// the data are whole, and one jail runs. The source leads the cluster in the
// one direction, the target in the other.
func TestAMoveSurvivesKill9(t *testing.T) {
	t.Parallel()
	// One MiB a second makes the copies long enough to be met.
	a, b := pair(t, "left", "right", "-sync-rate", "1")
	keeper(t, a, "mortal", "mark-mortal", "")
	a.must(t, "exec", "db", "--", "sh", "-c", "head -c 1500000 /dev/urandom >/data/big")
	sum := a.must(t, "exec", "db", "--", "sha256sum", "/data/big")
	hosts := map[string]*host{"left": a, "right": b}
	for i, c := range killsOfMoves() {
		from := settledMove(t, a, sum)
		to := map[string]string{"left": "right", "right": "left"}[from]
		victim := map[string]string{"source": from, "target": to}[c.who]
		note := fmt.Sprintf("note %d", i)
		a.must(t, "exec", "db", "--", "sh", "-c", "echo "+note+" >/data/note")
		if r := a.ctl("jail", "move", "db", "--to", to, "--detach"); r.code != 0 {
			t.Fatalf("%s", r)
		}
		met := ""
		poll(t, time.Minute, "the move is "+c.phase, func() error {
			m, err := lastMove(a, "db")
			if met = m.Phase; err != nil || !slices.Contains(append(movePhases, "done", "failed")[slices.Index(movePhases, c.phase):], met) {
				return fmt.Errorf("it is %s, %v", met, err)
			}
			return nil
		})
		hosts[victim].kill(t)
		hosts[victim].start(t)
		now := settledMove(t, a, sum)
		m, err := lastMove(a, "db")
		if err != nil {
			t.Fatal(err)
		}
		if got := a.must(t, "exec", "db", "--", "cat", "/data/note"); got != note+"\n" {
			t.Errorf("kill -9 of the %s at %s: the note is %q, want %q", c.who, met, got, note)
		}
		if want := map[string]string{"done": to, "failed": from}[m.Phase]; now != want {
			t.Errorf("kill -9 of the %s at %s: the move is %s, and the jail on %s", c.who, met, m.Phase, now)
		}
		t.Logf("kill -9 of the %s (%s) when the move was %s: it is %s %s, down for %.2f s", c.who, victim, met, m.Phase, m.Error, m.Down)
	}
	a.destroy(t, "mortal")
}

type killOfMove struct{ who, phase string }

// killsOfMoves are all in make faults; else those that differ most.
func killsOfMoves() (all []killOfMove) {
	if os.Getenv("FAULTS") == "" {
		return []killOfMove{{"target", "asked"}, {"source", "stopped"}, {"target", "stopped"}, {"source", "placed"}}
	}
	for _, order := range [][]string{{"source", "target"}, {"target", "source"}} { // so each in both directions
		for _, phase := range movePhases {
			for _, who := range order {
				all = append(all, killOfMove{who, phase})
			}
		}
	}
	return all
}

// settledMove waits until no move goes on, all is tidied up, and the jail runs
// once with its data. It returns the host.
func settledMove(t *testing.T, h *host, sum string) string {
	t.Helper()
	at := ""
	poll(t, 2*time.Minute, "the jail runs, whole, and no move goes on", func() error {
		if m, err := lastMove(h, "db"); err == nil && !m.Clean || err != nil && !strings.Contains(err.Error(), "no move") {
			return fmt.Errorf("%+v, %v", m, err)
		}
		rows, err := h.rows()
		if err != nil {
			return err
		}
		row := rows["db"]
		if row.Phase != "running" {
			return fmt.Errorf("it is %s: %s", row.Phase, row.Reason)
		}
		if r := h.ctl("exec", "db", "--", "sha256sum", "/data/big"); r.stdout != sum {
			return fmt.Errorf("%s, want %s", r, sum)
		}
		at = row.Host
		return nil
	})
	if n := running(t, "mark-mortal"); n != 1 {
		t.Errorf("%d of it run", n)
	}
	return at
}
