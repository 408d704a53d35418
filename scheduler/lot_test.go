package scheduler

import (
	"fmt"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
)

// firstHost is where a jail called name goes in an empty cluster of n equal
// hosts, the one called without left out.
func firstHost(t *testing.T, name string, n int, without string) fsm.HostID {
	t.Helper()
	st := stage.New()
	for i := range n {
		if id := fmt.Sprintf("h%d", i+1); id != without {
			st.AddHost(id, 4, 8<<30, nil)
		}
	}
	w, err := stage.ParseWish("demo", name+" image=img")
	if err != nil {
		t.Fatal(err)
	}
	st.Must(fsm.ApplyWish{Wish: w})
	st.Build("img")
	d := Schedule(st.S, st.Now())
	if len(d.Commands) != 1 {
		t.Fatalf("%s: %+v", name, d)
	}
	return d.Commands[0].(fsm.PlaceJail).Host
}

func TestEqualHostsAreUsedEvenly(t *testing.T) {
	t.Parallel()
	const hosts, jails = 5, 500
	got := map[fsm.HostID]int{}
	for i := range jails {
		got[firstHost(t, fmt.Sprintf("web%d", i), hosts, "")]++
	}
	for i := range hosts {
		if n := got[fsm.HostID(fmt.Sprintf("h%d", i+1))]; n < 70 || n > 130 {
			t.Errorf("h%d got %d of %d jails, a fifth would be %d: %v", i+1, n, jails, jails/hosts, got)
		}
	}
}

func TestAHostThatGoesChangesNothingBetweenTheOthers(t *testing.T) {
	t.Parallel()
	for i := range 50 {
		name := fmt.Sprintf("web%d", i)
		before, after := firstHost(t, name, 5, ""), firstHost(t, name, 5, "h3")
		if before != "h3" && before != after {
			t.Errorf("%s went to %s, and without h3 to %s", name, before, after)
		}
	}
}

func TestWhoKeepsFailingTriesEveryHost(t *testing.T) {
	t.Parallel()
	st := stage.New()
	const hosts = 4
	for i := range hosts {
		st.AddHost(fmt.Sprintf("h%d", i+1), 4, 8<<30, nil)
	}
	w, err := stage.ParseWish("demo", "web image=img restart=always")
	if err != nil {
		t.Fatal(err)
	}
	st.Must(fsm.ApplyWish{Wish: w})
	st.Build("img")
	seen := map[fsm.HostID]bool{}
	for range 25 {
		d := Schedule(st.S, st.Now())
		for d.Next != 0 {
			st.At(d.Next.Sub(stage.Start))
			d = Schedule(st.S, st.Now())
		}
		place := d.Commands[0].(fsm.PlaceJail)
		st.Must(place, fsm.ReportRun{Jail: "web", Host: place.Host, Seq: place.Seq, Phase: fsm.Failed})
		seen[place.Host] = true
		if len(seen) == hosts {
			return
		}
	}
	t.Errorf("25 starts were on %v only", seen)
}
