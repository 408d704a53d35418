package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
)

// TestStories runs testdata/story/*.txt. Every command may carry at=DURATION, the
// time since the beginning.
//
//	host NAME [cpu=4] [mem=8G] [os=freebsd] [runtime=sim] [label=rack=r1,ssd]
//	wish              one group a line, see stage.Jails; replaces the last
//	build IMAGE [on=h1,h2]
//	agents            runs that shall end end, the others get healthy
//	report JAIL PHASE [health=..] [exit=N|signal] [reason=..]
//	mark HOST STATE | restart JAIL | want JAIL WANT
//	schedule [dry]    prints what is proposed and what waits, then does it
//	settle            schedule and agents until nothing moves, a line a round
//	ps                every jail with host, phase and health
//	explain JAIL
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
		st := stage.New()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.HasArg("at") {
				var at string
				d.ScanArgs(t, "at", &at)
				dur, err := time.ParseDuration(at)
				if err != nil {
					d.Fatalf(t, "at: %v", err)
				}
				st.At(dur)
			}
			return step(t, st, d)
		})
	})
}

// fenceOf is fence=DURATION from now, 0 without it.
func fenceOf(t *testing.T, st *stage.Stage, d *datadriven.TestData) fsm.Time {
	text := arg(d, "fence", "")
	if text == "" {
		return 0
	}
	dur, err := time.ParseDuration(text)
	if err != nil {
		d.Fatalf(t, "fence: %v", err)
	}
	return st.Now().Add(dur)
}

// drainOf is parallel=N and until=DURATION from now, nil without them.
func drainOf(t *testing.T, st *stage.Stage, d *datadriven.TestData) *fsm.Drain {
	var n int
	var until string
	d.MaybeScanArgs(t, "parallel", &n)
	d.MaybeScanArgs(t, "until", &until)
	if n == 0 && until == "" {
		return nil
	}
	out := &fsm.Drain{Parallel: n}
	if until != "" {
		dur, err := time.ParseDuration(until)
		if err != nil {
			d.Fatalf(t, "until: %v", err)
		}
		out.Until = st.Now().Add(dur)
	}
	return out
}

func step(t *testing.T, st *stage.Stage, d *datadriven.TestData) string {
	do := func(c fsm.Command) string {
		if _, err := st.Do(c); err != nil {
			return "refused: " + err.Error()
		}
		return "ok"
	}
	jail := func() fsm.JailName { return fsm.JailName(word(d, 0)) }
	switch d.Cmd {
	case "host":
		return do(hostOf(t, d))
	case "wish":
		w, err := stage.ParseWish("demo", d.Input)
		if err != nil {
			return err.Error()
		}
		return do(fsm.ApplyWish{Wish: w})
	case "build":
		st.Build(word(d, 0), strings.FieldsFunc(arg(d, "on", ""), func(r rune) bool { return r == '+' })...)
		return "ok"
	case "agents":
		return fmt.Sprintf("%d runs moved", st.Agents())
	case "report":
		return do(reportOf(t, st, d))
	case "mark":
		return do(fsm.MarkHost{Host: fsm.HostID(word(d, 0)), State: fsm.HostState(word(d, 1)), Why: "test", Fence: fenceOf(t, st, d), Over: d.HasArg("over"), Drain: drainOf(t, st, d)})
	case "restart":
		return do(fsm.RestartJail{Jail: jail()})
	case "want":
		return do(fsm.WantJail{Jail: jail(), Want: fsm.Want(word(d, 1))})
	case "schedule":
		return schedule(st, d.HasArg("dry"))
	case "settle":
		return settle(st)
	case "ps":
		return ps(st.S)
	case "explain":
		return strings.Join(Explain(st.S, jail(), st.Now()).Lines(), "\n")
	}
	d.Fatalf(t, "unknown command %s", d.Cmd)
	return ""
}

// word is the n-th argument without a value.
func word(d *datadriven.TestData, n int) string {
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			if n == 0 {
				return a.Key
			}
			n--
		}
	}
	return ""
}

func arg(d *datadriven.TestData, key, otherwise string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return strings.Join(a.Vals, "+")
		}
	}
	return otherwise
}

func hostOf(t *testing.T, d *datadriven.TestData) fsm.Command {
	name := word(d, 0)
	h := fsm.Host{
		ID: fsm.HostID(name), Name: name, Role: "server", Arch: "amd64", Version: "test",
		OS: arg(d, "os", "linux"), Runtime: arg(d, "runtime", "linux"), Labels: map[string]string{},
	}
	for _, l := range strings.Split(arg(d, "label", ""), "+") {
		if l != "" {
			k, v, _ := strings.Cut(l, ":")
			h.Labels[k] = v
		}
	}
	var cpu float64
	if _, err := fmt.Sscan(arg(d, "cpu", "4"), &cpu); err != nil {
		d.Fatalf(t, "cpu: %v", err)
	}
	mem, err := stage.Bytes(arg(d, "mem", "8G"))
	if err != nil {
		d.Fatalf(t, "mem: %v", err)
	}
	h.Capacity = fsm.Resources{MilliCPU: int64(cpu * 1000), MemoryBytes: mem}
	return fsm.RegisterHost{Host: h}
}

func reportOf(t *testing.T, st *stage.Stage, d *datadriven.TestData) fsm.Command {
	name := word(d, 0)
	r, ok := st.S.Runs.Get(name)
	if !ok {
		d.Fatalf(t, "%s has no run", name)
	}
	c := fsm.ReportRun{Jail: r.Jail, Host: r.Host, Seq: r.Seq, Health: fsm.Health(arg(d, "health", "")), Reason: arg(d, "reason", "")}
	for p := fsm.Placed; p <= fsm.Lost; p++ {
		if p.String() == word(d, 1) {
			c.Phase = p
		}
	}
	if e := arg(d, "exit", ""); e != "" {
		c.Exit = &fsm.Exit{Known: true}
		if _, err := fmt.Sscan(e, &c.Exit.Code); err != nil {
			c.Exit.Signal = e
		}
	}
	return c
}

// schedule prints a Decision, and folds its commands unless dry. Whatever the
// story, the commands must be accepted and lead to nothing more.
func schedule(st *stage.Stage, dry bool) string {
	dec := Schedule(st.S, st.Now())
	out := describe(&dec)
	if dry {
		return out
	}
	for _, c := range dec.Commands {
		if _, err := st.Do(c); err != nil {
			out += fmt.Sprintf("REFUSED %+v: %v\n", c, err)
		}
	}
	if again := Schedule(st.S, st.Now()); len(again.Commands) > 0 {
		out += "NOT IDEMPOTENT: " + describe(&again)
	}
	return out
}

func describe(dec *Decision) string {
	var b strings.Builder
	for _, c := range dec.Commands {
		switch c := c.(type) {
		case fsm.PlaceJail:
			fmt.Fprintf(&b, "place %s#%d on %s", c.Jail, c.Seq, c.Host)
			if c.Attempt > 0 {
				fmt.Fprintf(&b, ", attempt %d", c.Attempt)
			}
			fmt.Fprintf(&b, ": %s\n", c.Why)
		case fsm.MoveJail:
			fmt.Fprintf(&b, "move %s to %s: %s\n", c.Jail, c.To, c.Why)
		case fsm.StopRun:
			fmt.Fprintf(&b, "stop %s#%d: %s\n", c.Jail, c.Seq, c.Why)
		}
	}
	for _, u := range dec.Pending {
		fmt.Fprintf(&b, "pending %s: %s\n", u.Jail, u.Why)
	}
	if dec.Next != 0 {
		fmt.Fprintf(&b, "next at %v\n", dec.Next.Sub(stage.Start))
	}
	if b.Len() == 0 {
		return "nothing to do\n"
	}
	return b.String()
}

// settle runs rounds until nothing is proposed and no agent moves.
func settle(st *stage.Stage) string {
	var b strings.Builder
	for round := 1; round <= 50; round++ {
		dec := Schedule(st.S, st.Now())
		for _, c := range dec.Commands {
			if _, err := st.Do(c); err != nil {
				fmt.Fprintf(&b, "REFUSED %+v: %v\n", c, err)
			}
		}
		moved := st.Agents()
		if len(dec.Commands) == 0 && moved == 0 {
			return b.String() + describe(&Decision{Pending: dec.Pending, Next: dec.Next})
		}
		dec.Pending, dec.Next = nil, 0
		fmt.Fprintf(&b, "%d: %s", round, strings.ReplaceAll(strings.TrimSpace(describe(&dec)), "\n", "\n   ")+"\n")
	}
	return b.String() + "NEVER SETTLES"
}

func ps(s *fsm.State) string {
	var b strings.Builder
	for name, j := range s.Jails.All {
		r, ok := s.Runs.Get(name)
		if !ok {
			fmt.Fprintf(&b, "%s wanted %s, never placed\n", name, j.Want)
			continue
		}
		fmt.Fprintf(&b, "%s#%d on %s: %v, %s", name, r.Seq, r.Host, r.Phase, r.Health)
		if r.StopWhy != "" {
			fmt.Fprintf(&b, ", stop: %s", r.StopWhy)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
