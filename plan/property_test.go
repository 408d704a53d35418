package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/plan"
	"github.com/rexcarcer/rexcarcer/scheduler"
	"github.com/rexcarcer/rexcarcer/spec"
)

func drawWish(t *rapid.T) spec.Wish {
	var jails []spec.Jail
	for i := range 4 {
		if rapid.IntRange(0, 3).Draw(t, "absent") == 0 {
			continue
		}
		line := fmt.Sprintf("g%d", i+1)
		for _, choices := range [][]string{
			{"", "count=2", "count=4"},
			{"net=a", "net=a", "net=b"},
			{"", "mem=256M", "mem=1G"},
			{"", "env=1", "env=2"},
			{"", "service=s:80", "service=t:81"},
			{"", "", "spread=host", "spread=rack", "binpack"},
			{"", "", "volume=data"},
			{"parallel=1", "parallel=2", "min_healthy=1h"},
			{"image=x", "image=y"},
		} {
			line += " " + rapid.SampledFrom(choices).Draw(t, "attribute")
		}
		if i == 3 && len(jails) > 0 {
			line += " depends=" + jails[0].Group
		}
		js, err := stage.Jails(line)
		if err != nil {
			t.Fatal(err)
		}
		jails = append(jails, js...)
	}
	w := stage.Wish("demo", jails)
	for i := range w.Networks { // a name keeps its subnet from wish to wish
		n := &w.Networks[i]
		n.Subnet = netip.MustParsePrefix(map[string]string{"a": "10.1.0.0/16", "b": "10.2.0.0/16"}[n.Name])
		n.NAT = rapid.Bool().Draw(t, "nat")
	}
	return w
}

// live lets scheduler and agents work as a cluster would, a day a round.
func live(st *stage.Stage) {
	for _, im := range st.S.Images.All {
		if _, built := st.S.Builds.Get(im.Key); !built {
			st.Build(im.Name)
		}
	}
	for range 300 {
		moved := st.Agents()
		st.At(st.Now().Sub(stage.Start) + 24*time.Hour)
		cmds := scheduler.Schedule(st.S, st.Now()).Commands
		st.Must(cmds...)
		if moved == 0 && len(cmds) == 0 {
			return
		}
	}
}

// present is the State at the stage's clock.
func present(st *stage.Stage) *fsm.State {
	s := *st.S
	s.Now = max(s.Now, st.Now())
	return &s
}

// TestPlanIsWhatHappens: the steps of a plan are the events of its apply, the
// hosts are those that the scheduler then chooses, and a second plan is empty.
func TestPlanIsWhatHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		st := stage.New()
		for i := range rapid.IntRange(1, 4).Draw(t, "hosts") {
			st.AddHost(fmt.Sprintf("h%d", i+1), 4, int64(rapid.IntRange(1, 4).Draw(t, "mem"))<<30, map[string]string{"rack": fmt.Sprint(i % 2)})
		}
		for range rapid.IntRange(1, 4).Draw(t, "wishes") {
			w := drawWish(t)
			before := st.S
			p, err := plan.Make(&w, present(st), place)
			if err != nil {
				if _, refused := st.Do(fsm.ApplyWish{Wish: w}); refused == nil {
					t.Fatalf("plan says %v, apply accepts", err)
				}
				continue
			}
			if st.S != before {
				t.Fatal("planning changed the State")
			}
			events, err := st.Do(p.Command())
			if err != nil {
				t.Fatalf("apply of a fresh plan: %v", err)
			}
			compareSteps(t, p, events)
			live(st)
			compareHosts(t, p, st.S)
			compareNames(t, p, before, st.S)
			again, err := plan.Make(&w, present(st), place)
			if err != nil || !again.Empty() {
				t.Fatalf("second plan: %v, %+v", err, again.Steps)
			}
		}
		p, err := plan.Destroy("demo", st.S)
		if err != nil {
			return // no wish was ever accepted
		}
		if _, err := st.Do(p.Command()); err != nil {
			t.Fatalf("destroy: %v", err)
		}
		live(st)
		if n := st.S.Jails.Len() + st.S.Networks.Len() + st.S.Records.Len() + st.S.Certs.Len(); n > 0 {
			t.Fatalf("%d objects are left after destroy", n)
		}
	})
}

// compareSteps: networks, images and jails one to one.
func compareSteps(t *rapid.T, p *plan.Plan, events []fsm.Event) {
	var want, got []string
	seen := map[string]bool{}
	note := func(action, kind, name string) {
		if s := action + " " + kind + " " + name; !seen[s] {
			seen[s] = true
			want = append(want, s)
		}
	}
	for _, e := range events {
		switch e := e.(type) {
		case fsm.NetworkCreated:
			note("create", "network", e.Network.Name)
		case fsm.NetworkChanged:
			if e.Network.Gone {
				note("destroy", "network", e.Network.Name)
			} else {
				note("change", "network", e.Network.Name)
			}
		case fsm.NetworkRemoved:
			note("destroy", "network", e.Name)
		case fsm.JailCreated:
			note("create", "jail", e.Jail.Spec.Name)
		case fsm.JailChanged:
			note("change", "jail", e.Jail.Spec.Name)
		case fsm.JailWanted:
			note("destroy", "jail", e.Jail.Spec.Name)
		case fsm.JailRemoved:
			note("destroy", "jail", string(e.Name))
		}
	}
	for _, st := range p.Steps {
		action := st.Action
		if action == plan.ActionMove {
			action = plan.ActionChange
		}
		if st.Kind == plan.KindJail || st.Kind == plan.KindNetwork {
			got = append(got, action+" "+st.Kind+" "+st.Name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("steps differ from events:\n got %q\nwant %q", got, want)
	}
}

func compareHosts(t *rapid.T, p *plan.Plan, s *fsm.State) {
	for _, st := range p.Steps {
		if st.Kind != plan.KindJail || st.Action == plan.ActionDestroy {
			continue
		}
		host := ""
		if r := s.LiveRun(fsm.JailName(st.Name)); r != nil {
			host = string(r.Host)
		}
		if host != st.Host {
			t.Fatalf("jail %s was planned for host %q and is on %q", st.Name, st.Host, host)
		}
		j, _ := s.Jails.Get(st.Name)
		for i, a := range j.Addrs {
			if a.Addr.String() != st.Addresses[i].Address {
				t.Fatalf("jail %s was planned with %v and has %v", st.Name, st.Addresses, j.Addrs)
			}
		}
	}
}

// compareNames: a name that a step creates is there, one that it destroys is
// not, and no other name came or went.
func compareNames(t *rapid.T, p *plan.Plan, before, after *fsm.State) {
	names := func(s *fsm.State) map[string]bool {
		all := map[string]bool{}
		for _, r := range s.Records.All {
			if r.Type == "PTR" {
				all[r.Target] = true
			} else {
				all[r.Name] = true
			}
		}
		return all
	}
	want := names(before)
	for _, st := range p.Steps {
		if st.Kind != plan.KindDNS {
			continue
		}
		switch st.Action {
		case plan.ActionCreate:
			want[st.Name] = true
		case plan.ActionDestroy:
			delete(want, st.Name)
		}
	}
	if got := names(after); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("DNS names:\n got %v\nwant %v", got, want)
	}
}
