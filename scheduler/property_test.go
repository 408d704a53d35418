package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/spec"
)

// world is a random cluster that lives on under random events.
type world struct {
	st      *stage.Stage
	elapsed time.Duration
	wish    spec.Wish
}

func drawWorld(t *rapid.T) *world {
	w := &world{st: stage.New()}
	for i := range rapid.IntRange(1, 9).Draw(t, "hosts") {
		w.addHost(t, fmt.Sprintf("h%d", i+1))
	}
	w.drawWish(t)
	return w
}

func (w *world) addHost(t *rapid.T, id string) {
	labels := map[string]string{}
	if r := rapid.IntRange(0, 3).Draw(t, "rack"); r > 0 {
		labels["rack"] = fmt.Sprintf("r%d", r)
	}
	if rapid.Bool().Draw(t, "ssd") {
		labels["ssd"] = ""
	}
	w.st.AddHost(id, float64(rapid.IntRange(1, 8).Draw(t, "cpu")), int64(rapid.IntRange(1, 8).Draw(t, "mem"))<<30, labels)
}

// drawWish wishes groups g1.. and images built on some hosts.
func (w *world) drawWish(t *rapid.T) {
	var jails []spec.Jail
	groups := rapid.IntRange(1, 5).Draw(t, "groups")
	for i := range groups {
		line := fmt.Sprintf("g%d image=i%d", i+1, i+1)
		for _, choices := range [][]string{
			{"", "count=2", "count=5", "count=9"},
			{"", "", "cpu=0.5", "cpu=2"},
			{"", "mem=256M", "mem=1G"},
			{"", "", "spread=host", "spread=rack", "binpack"},
			{"", "", "", "constraint=ssd", "constraint=rack_!=_r1"},
			{"", "", "affinity=ssd", "affinity=rack_==_r2_*_-3"},
			{"", "", "", "volume=data"},
			{"", "", "priority=80", "priority=20"},
			{"restart=always", "restart=on-failure", "restart=never", "attempts=2"},
			{"parallel=1", "parallel=3", "min_healthy=5s"},
			{"", "env=1", "env=2"},
		} {
			line += " " + rapid.SampledFrom(choices).Draw(t, "attribute")
		}
		if i > 0 && rapid.IntRange(0, 4).Draw(t, "depends") == 0 {
			line += fmt.Sprintf(" depends=g%d", i)
		}
		js, err := stage.Jails(line)
		if err != nil {
			t.Fatal(err)
		}
		jails = append(jails, js...)
	}
	w.wish = stage.Wish("demo", jails)
	if _, err := w.st.Do(fsm.ApplyWish{Wish: w.wish}); err != nil {
		t.Fatalf("apply: %v", err)
	}
	for i := range groups {
		w.st.Build(fmt.Sprintf("i%d", i+1))
	}
}

func (w *world) anyJail(t *rapid.T) *fsm.Jail {
	var all []*fsm.Jail
	for _, j := range w.st.S.Jails.All {
		all = append(all, j)
	}
	if len(all) == 0 {
		return nil
	}
	return rapid.SampledFrom(all).Draw(t, "jail")
}

func (w *world) anyHost(t *rapid.T) fsm.HostID {
	var all []fsm.HostID
	for id := range w.st.S.Hosts.All {
		all = append(all, fsm.HostID(id))
	}
	return rapid.SampledFrom(all).Draw(t, "host")
}

// disturb does something that users, jails or hosts do.
func (w *world) disturb(t *rapid.T) {
	w.elapsed += time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond
	w.st.At(w.elapsed)
	j := w.anyJail(t)
	if j == nil || j.Want == fsm.WantGone {
		w.drawWish(t)
		return
	}
	name := fsm.JailName(j.Spec.Name)
	var cmd fsm.Command
	switch rapid.IntRange(0, 9).Draw(t, "event") {
	case 0:
		w.drawWish(t)
		return
	case 1:
		cmd = fsm.RestartJail{Jail: name}
	case 2:
		cmd = fsm.WantJail{Jail: name, Want: rapid.SampledFrom([]fsm.Want{fsm.WantRunning, fsm.WantStopped}).Draw(t, "want")}
	case 3:
		mark := fsm.MarkHost{Host: w.anyHost(t), State: rapid.SampledFrom([]fsm.HostState{fsm.HostAlive, fsm.HostDraining, fsm.HostLost}).Draw(t, "state")}
		if mark.State == fsm.HostDraining {
			mark.Drain = rapid.SampledFrom([]*fsm.Drain{nil, {Parallel: 1}, {Until: w.st.Now().Add(10 * time.Second)}}).Draw(t, "drain")
		}
		cmd = mark
	case 4, 5, 6:
		r := w.st.S.LiveRun(name)
		if r == nil {
			return
		}
		rep := fsm.ReportRun{Jail: name, Host: r.Host, Seq: r.Seq, Phase: max(r.Phase, rapid.SampledFrom([]fsm.Phase{fsm.Starting, fsm.Running, fsm.Stopped, fsm.Failed}).Draw(t, "phase"))}
		rep.Health = rapid.SampledFrom([]fsm.Health{fsm.HealthHealthy, fsm.HealthUnhealthy}).Draw(t, "health")
		if rep.Phase.Over() {
			rep.Health, rep.Exit = "", &fsm.Exit{Known: true, Code: rapid.IntRange(0, 1).Draw(t, "code")}
		}
		cmd = rep
	default:
		w.st.Agents()
		return
	}
	_, _ = w.st.Do(cmd) // a refusal is the cluster's answer to a user, not a fault here
}

// TestScheduleHoldsItsLaws lets random clusters live and checks after every
// event that a Decision is accepted as it is, complete, idempotent, the same
// as the reference's, and paced.
func TestScheduleHoldsItsLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(1, 12).Draw(t, "events") {
			checkLaws(t, w)
			w.disturb(t)
		}
	})
}

func checkLaws(t *rapid.T, w *world) {
	s, now := w.st.S, w.st.Now()
	d := Schedule(s, now)
	checkReference(t, s, now, &d)
	checkPace(t, s, &d)
	for _, c := range d.Commands {
		if _, err := w.st.Do(c); err != nil {
			t.Fatalf("%+v is refused: %v", c, err)
		}
	}
	again := Schedule(w.st.S, now)
	if len(again.Commands) > 0 {
		t.Fatalf("not idempotent: after %+v it proposes %+v", d.Commands, again.Commands)
	}
	waiting := map[fsm.JailName]bool{}
	for _, u := range d.Pending {
		if u.Why == "" || waiting[u.Jail] {
			t.Fatalf("pending %s without a reason, or twice", u.Jail)
		}
		waiting[u.Jail] = true
	}
	for name, j := range w.st.S.Jails.All {
		r := w.st.S.LiveRun(fsm.JailName(name))
		if j.Want == fsm.WantRunning && r == nil && !waiting[fsm.JailName(name)] {
			t.Fatalf("%s neither runs nor waits", name)
		}
	}
	if d.Next != 0 && d.Next <= now {
		t.Fatalf("next at %d is not after now %d", d.Next, now)
	}
}

func checkReference(t *rapid.T, s *fsm.State, now fsm.Time, d *Decision) {
	p := newPass(s, now)
	for _, g := range p.groups {
		p.scanGroup(g)
	}
	want, pushes := naive(s, p.start)
	var got []fsm.Command
	var pushed []fsm.StopRun
	for _, c := range d.Commands {
		switch c := c.(type) {
		case fsm.PlaceJail:
			c.Why, c.From = "", ""
			got = append(got, c)
		case fsm.StopRun:
			if c.For != "" {
				checkPush(t, s, c)
				c.Why = ""
				pushed = append(pushed, c)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("placements differ:\n got %+v\nwant %+v", got, want)
	}
	byJail := func(a, b fsm.StopRun) int { return strings.Compare(string(a.Jail), string(b.Jail)) }
	slices.SortFunc(pushed, byJail)
	slices.SortFunc(pushes, byJail)
	if !slices.Equal(pushed, pushes) {
		t.Fatalf("who is pushed out differs:\n got %+v\nwant %+v", pushed, pushes)
	}
}

// checkPush: nobody is pushed out by a jail that is not more important, and
// nobody whose volumes could not follow.
func checkPush(t *rapid.T, s *fsm.State, c fsm.StopRun) {
	by, _ := s.Jails.Get(string(c.For))
	j, _ := s.Jails.Get(string(c.Jail))
	if w := (&plain{s: s}); w.importance(j) >= w.importance(by) {
		t.Fatalf("%s (%d) is pushed out by %s (%d)", c.Jail, w.importance(j), c.For, w.importance(by))
	}
	if len(j.Spec.Volumes) > 0 {
		t.Fatalf("%s is pushed out, and has a volume", c.Jail)
	}
}

// checkPace: healthy members of a group are stopped for an update only while
// fewer than max_parallel of its members are away.
func checkPace(t *rapid.T, s *fsm.State, d *Decision) {
	stopped := map[string]int{}
	for _, c := range d.Commands {
		st, ok := c.(fsm.StopRun)
		if !ok || st.For != "" || strings.HasSuffix(st.Why, "deadline is over") {
			continue
		}
		j, _ := s.Jails.Get(string(st.Jail))
		r := s.LiveRun(st.Jail)
		if j.Want == fsm.WantRunning && r.Phase == fsm.Running && r.Health == fsm.HealthHealthy {
			stopped[j.Spec.Group]++
		}
	}
	for name, n := range stopped {
		g, _ := s.Groups.Get(name)
		limit, away := 1, 0
		for _, jn := range g.Jails {
			j, _ := s.Jails.Get(string(jn))
			limit = max(limit, j.Spec.Update.MaxParallel)
			r := s.LiveRun(jn)
			_, ran := s.Runs.Get(string(jn))
			asks := j.Want == fsm.WantRunning && ran
			rests := r == nil && j.Spec.Restart.Policy != "always" && j.Spec.Restart.Policy != ""
			if asks && !rests && (r == nil || r.Phase != fsm.Running || r.Health != fsm.HealthHealthy || r.StopWhy != "") {
				away++
			}
		}
		if away+n > limit {
			t.Fatalf("group %s: %d are away, %d healthy ones are stopped, at most %d may be", name, away, n, limit)
		}
	}
}

// TestRollingUpdateAlwaysEnds: with agents that do their work and time that
// passes, every jail that has a host ends up as it is wished.
func TestRollingUpdateAlwaysEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(1, 8).Draw(t, "events") {
			w.disturb(t)
			for _, c := range Schedule(w.st.S, w.st.Now()).Commands {
				w.st.Must(c)
			}
		}
		var d Decision
		for round := 0; ; round++ {
			if round == 200 {
				t.Fatalf("still at it after %d rounds: %+v", round, d)
			}
			w.elapsed += 10 * time.Minute
			w.st.At(w.elapsed)
			d = Schedule(w.st.S, w.st.Now())
			for _, c := range d.Commands {
				w.st.Must(c)
			}
			if w.st.Agents() == 0 && len(d.Commands) == 0 && d.Next == 0 {
				break
			}
		}
		waiting := map[string]bool{}
		for _, u := range d.Pending {
			waiting[string(u.Jail)] = true
		}
		for name, j := range w.st.S.Jails.All {
			if j.Want != fsm.WantRunning || waiting[name] {
				continue
			}
			r := w.st.S.LiveRun(fsm.JailName(name))
			if r == nil || r.Hash != j.Hash || r.Restart < j.Restart {
				t.Fatalf("%s is not as it is wished, and nobody says why: %+v", name, r)
			}
		}
	})
}

// TestScheduleIsAFunction: the same State gives the same Decision, and stays
// as it was.
func TestScheduleIsAFunction(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		a, b := Schedule(w.st.S, w.st.Now()), Schedule(w.st.S, w.st.Now())
		if fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
			t.Fatalf("two answers:\n%+v\n%+v", a, b)
		}
		for name := range w.st.S.Jails.All {
			e := Explain(w.st.S, fsm.JailName(name), w.st.Now())
			if e.Summary == "" || len(e.Hosts) != w.st.S.Hosts.Len() {
				t.Fatalf("explanation of %s: %+v", name, e)
			}
		}
	})
}
