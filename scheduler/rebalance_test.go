package scheduler

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// TestRebalanceGainsWhatItSays: each move in turn gains what Explain says of the
// two hosts, and is taken by Apply. That it ends is not said: a jail that looks
// for a full host and one that looks for an empty one may follow each other, as
// often as they are asked to.
func TestRebalanceGainsWhatItSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(0, 4).Draw(t, "events") {
			w.disturb(t)
		}
		calm(w)
		w.addHost(t, "new")
		for range 40 {
			shifts := Rebalance(w.st.S, w.st.Now(), 1)
			if len(shifts) == 0 {
				break
			}
			checkShift(t, w, shifts[0])
		}
	})
}

// calm lets everything happen that is due.
func calm(w *world) {
	for range 50 {
		cmds := Schedule(w.st.S, w.st.Now()).Commands
		for _, c := range cmds {
			_, _ = w.st.Do(c)
		}
		if w.st.Agents() == 0 && len(cmds) == 0 {
			return
		}
	}
}

func checkShift(t *rapid.T, w *world, x Shift) {
	e := Explain(w.st.S, x.Jail, w.st.Now())
	score := map[string]float64{}
	for _, h := range e.Hosts {
		if h.Fits {
			score[h.Name] = h.Score
		}
	}
	r := w.st.S.LiveRun(x.Jail)
	if d := score[x.To] - score[x.From] - x.Gain; e.Host != x.From || e.Best != x.To || d > 1e-6 || d < -1e-6 {
		t.Fatalf("%+v: it is on %s, the best is %s, scores %v", x, e.Host, e.Best, score)
	}
	if x.Gain < float64(worthIt)/pointsPerOne {
		t.Fatalf("%+v is not worth it", x)
	}
	w.st.Must(fsm.StopRun{Jail: x.Jail, Seq: r.Seq, Why: "moves"})
	w.st.Agents()
	w.st.Must(fsm.PlaceJail{Jail: x.Jail, Host: fsm.HostID(x.To), Seq: w.st.S.NextSeq(x.Jail), Why: "moves"})
	w.st.Agents()
}

// TestRebalancePlansAreTakenInOrder: a plan of many moves is one that step by
// step would be made, too.
func TestRebalancePlansAreTakenInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		calm(w)
		w.addHost(t, "new")
		most := rapid.IntRange(0, 20).Draw(t, "most")
		shifts := Rebalance(w.st.S, w.st.Now(), most)
		if len(shifts) > most {
			t.Fatalf("%d moves, at most %d were asked for", len(shifts), most)
		}
		moved := map[fsm.JailName]bool{}
		for _, x := range shifts {
			if moved[x.Jail] {
				t.Fatalf("%s moves twice in one plan", x.Jail)
			}
			moved[x.Jail] = true
			checkShift(t, w, x)
		}
	})
}
