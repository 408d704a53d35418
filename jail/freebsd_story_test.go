package jail

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
	"github.com/rexcarcer/rexcarcer/internal/run"
)

// story is a modelled host with a daemon, told by a file.
type story struct {
	*machine

	log bytes.Buffer
}

// TestFreeBSDStories tells what the driver does on a host of FreeBSD 15.1, command by command. $D is the test's directory.
//
//	host [racct=off] [release=1402000] [dying=2]   a new one
//	start|update NAME [ARG=VALUE...]               mem, cpu, procs, files, cpuset, user, dir, net, name; argv in the input
//	stop|remove|wait|stats NAME, exec NAME         argv in the input
//	list, die, restart (a new daemon adopts), state, conf NAME
//	end NAME CODE                                  its first process ends
//	killed NAME                                    its start, killed at each command, and what the next daemon does then
//	fails TOOL [VERB] rc=N                         start fails by this text in the input
//	by-hand                                        a command in the input
//	... quiet                                      without the commands
func TestFreeBSDStories(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/freebsd", func(t *testing.T, path string) {
		var w *story
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "host" {
				w = newStory(t, d)
				return ""
			}
			w.ResetCalls()
			w.log.Reset()
			out, err := w.tell(t, d)
			if err != nil {
				out += "error: " + err.Error()
			}
			calls := strings.Join(w.Calls(), "\n")
			if d.HasArg("quiet") || slices.Contains([]string{"state", "conf", "killed", "fails", "by-hand"}, d.Cmd) {
				calls = ""
			}
			all := strings.Trim(calls+"\n"+w.log.String()+out, "\n")
			if all == "" {
				return ""
			}
			return strings.ReplaceAll(all, w.dir, "$D") + "\n"
		})
	})
}

func newStory(t *testing.T, d *datadriven.TestData) *story {
	w := &story{machine: newMachine(t)}
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "racct":
			w.Racct = a.Vals[0] != "off"
		case "release":
			w.SetSysctl("kern.osreldate", a.Vals[0])
		case "dying":
			w.DyingFor, _ = strconv.Atoi(a.Vals[0])
		}
	}
	w.listen()
	return w
}

// listen lets the daemon that runs now log into the story.
func (w *story) listen() {
	w.d.cfg.Poll = time.Hour // nothing happens between two commands
	w.d.cfg.Log = slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// wish is the jail of a command.
func (w *story) wish(d *datadriven.TestData) Spec {
	s := w.spec(d.CmdArgs[0].Key)
	s.Limits, s.Mounts = Limits{}, nil
	if f := strings.Fields(d.Input); len(f) > 0 && d.Cmd == "start" {
		s.Argv = f
	}
	for _, a := range d.CmdArgs[1:] {
		if len(a.Vals) == 0 {
			continue
		}
		n, _ := strconv.ParseFloat(a.Vals[0], 64)
		switch a.Key {
		case "mem":
			s.Limits.MemoryBytes = int64(n) << 20
		case "cpu":
			s.Limits.CPU = n
		case "procs":
			s.Limits.Processes = int64(n)
		case "files":
			s.Limits.OpenFiles = int64(n)
		case "cpuset":
			s.Limits.CPUSet = a.Vals[0]
		case "user":
			s.User = a.Vals[0]
		case "dir":
			s.WorkDir = a.Vals[0]
		case "net":
			s.NetNS = a.Vals[0]
		case "name":
			s.Name = a.Vals[0]
		case "volume":
			s.Mounts = []Mount{{Source: filepath.Join(w.dir, "data"), Target: a.Vals[0]}}
		}
	}
	return s
}

func (w *story) tell(t *testing.T, d *datadriven.TestData) (string, error) {
	ctx := t.Context()
	var s Spec
	if len(d.CmdArgs) > 0 && d.Cmd != "fails" {
		s = w.wish(d)
	}
	show := func(st Status, err error) (string, error) {
		if err != nil {
			return "", err
		}
		return shown(st), nil
	}
	switch d.Cmd {
	case "start":
		return show(w.d.Start(ctx, s))
	case "stop":
		return show(w.d.Stop(ctx, s.ID, 0))
	case "wait":
		return show(w.d.Wait(ctx, s.ID))
	case "remove":
		return "", w.d.Remove(ctx, s.ID)
	case "update":
		return "", w.d.Update(ctx, s.ID, s.Limits)
	case "stats":
		st, err := w.d.Stats(ctx, s.ID)
		return fmt.Sprintf("%+v", st), err
	case "exec":
		code, err := w.d.Exec(ctx, s.ID, Exec{Argv: strings.Fields(d.Input), User: s.User, WorkDir: s.WorkDir})
		return fmt.Sprintf("code %d", code), err
	case "list":
		return w.list(t)
	case "die": // nobody watches
		return "", w.d.Close()
	case "restart":
		w.boot()
		w.listen()
		return w.list(t)
	case "end":
		code, _ := strconv.Atoi(d.CmdArgs[1].Key)
		w.EndProc(w.pid(t, s.ID), code)
		return show(w.d.Wait(ctx, s.ID))
	case "oom":
		pid := w.pid(t, s.ID)
		w.SetSysctl("kern.msgbuf", fmt.Sprintf("rctl: rule \"jail:%s:memoryuse:log=%d\" matched by pid %d (sleep), uid 0, jail %s", s.Name, s.Limits.MemoryBytes, pid, s.Name))
		w.EndProc(pid, 137)
		return show(w.d.Wait(ctx, s.ID))
	case "state":
		return w.State(), nil
	case "conf":
		raw, err := os.ReadFile(filepath.Join(w.dir, "conf", s.Name+".conf"))
		return string(raw), err
	case "by-hand":
		_, err := w.Run(ctx, run.Cmd{Argv: strings.Fields(d.Input)})
		return "", err
	case "fails":
		return w.fails(t, d)
	case "killed":
		return w.killed(t, d), nil
	}
	return "", errors.New("unknown command " + d.Cmd)
}

func (w *story) pid(t *testing.T, id string) int {
	list, err := w.d.List(t.Context())
	must(t, err)
	for _, st := range list {
		if st.ID == id {
			return st.PID
		}
	}
	return 0
}

func (w *story) list(t *testing.T) (string, error) {
	all, err := w.d.List(t.Context())
	out := []string{}
	for _, st := range all {
		out = append(out, shown(st))
	}
	return strings.Join(out, "\n"), err
}

func shown(st Status) string {
	text := fmt.Sprintf("%s is %s", st.ID, st.Phase)
	if st.PID != 0 {
		text += fmt.Sprintf(", pid %d", st.PID)
	}
	if e := st.Exit; e != nil {
		text += fmt.Sprintf(", known=%v code=%d signal=%q oom=%v", e.Known, e.Code, e.Signal, e.OOM)
	}
	return text
}

// fails lets a tool answer with this text, once, when it is called with the verb in the course of a start, and then all is
// taken down again. What it says to people is shown.
func (w *story) fails(t *testing.T, d *datadriven.TestData) (string, error) {
	tool, verb, rc := d.CmdArgs[0].Key, d.CmdArgs[1].Key, 1
	d.MaybeScanArgs(t, "rc", &rc)
	before := w.clean()
	came := false
	w.Handle(tool, func(h *freebsdtest.Host, c run.Cmd, args []string) freebsdtest.Reply {
		if slices.Contains(args, verb) && !came {
			came = true
			return freebsdtest.Reply{RC: rc, Err: d.Input + "\n"}
		}
		return freebsdtest.Obey(tool, h, c, args)
	})
	s := w.spec("web-1")
	s.Limits.OpenFiles = 100
	_, err := w.d.Start(t.Context(), s)
	out := ""
	if err == nil {
		_, serr := w.d.Stop(t.Context(), s.ID, 0)
		out = fmt.Sprintf("started; stop: %v; remove: %v\n", serr, w.d.Remove(t.Context(), s.ID))
	}
	w.Handle(tool, func(h *freebsdtest.Host, c run.Cmd, args []string) freebsdtest.Reply {
		return freebsdtest.Obey(tool, h, c, args)
	})
	must(t, w.d.Remove(t.Context(), s.ID))
	if !came {
		out += "it was not called so\n"
	}
	if left := w.clean(); left != before {
		out += "left: " + left
	}
	return out, err
}

// killed shows, for each command of a start, what the next daemon runs when the first was killed right before it.
func (w *story) killed(t *testing.T, d *datadriven.TestData) string {
	var b strings.Builder
	for n := 1; ; n++ {
		m := newMachine(t)
		x := &story{machine: m}
		s := x.wish(d)
		m.CrashAt(n, false)
		_, _ = m.d.Start(t.Context(), s) // it was killed
		calls := m.Calls()
		if !m.Revive() {
			return b.String()
		}
		m.boot()
		m.ResetCalls()
		list, err := m.d.List(t.Context())
		must(t, err)
		found := "nothing"
		if len(list) > 0 {
			found = string(list[0].Phase)
		}
		_, err = m.d.Start(t.Context(), s)
		must(t, err)
		var tools []string
		for _, c := range m.Calls() {
			tools = append(tools, brief(c))
		}
		fmt.Fprintf(&b, "before %s\n  finds %s; %s\n", strings.ReplaceAll(calls[n-1], m.dir, "$D"), found, strings.Join(slices.Compact(tools), ", "))
		must(t, m.d.Remove(t.Context(), s.ID))
		_ = m.d.Close()
	}
}

// brief is a command without what is the same each time.
func brief(call string) string {
	f := strings.Fields(strings.TrimPrefix(call, "start "))
	for _, v := range []string{"-c", "-r", "-R", "-a", "add", "show", "delset"} {
		if slices.Contains(f, v) {
			return f[0] + " " + v
		}
	}
	return f[0]
}
