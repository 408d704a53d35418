package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

var errEnough = errors.New("one event is enough")

// oldest is the index to ask for all events that are still kept.
func (s *Server) oldest(r *request) (uint64, error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	err := s.cfg.Log.Events(ctx, 0, false, func(fsm.Happened) error { return errEnough })
	var old interface{ Oldest() uint64 }
	switch {
	case err == nil || errors.Is(err, errEnough):
		return 0, nil
	case errors.As(err, &old):
		return old.Oldest(), nil
	}
	return 0, err
}

func (s *Server) why(r *request) error {
	st := s.cfg.Log.State()
	kind, name, _ := strings.Cut(r.URL.Query().Get("object"), " ")
	switch kind {
	case "jail":
		j, ok := st.Jails.Get(name)
		if !ok {
			return notFound("jail", name)
		}
		return r.reply(st.Index, s.whyJail(st, j))
	case "host":
		for _, h := range st.Hosts.All {
			if h.Name == name || string(h.ID) == name {
				return r.reply(st.Index, Why{Object: "host " + h.Name, Summary: string(h.State), Reasons: []string{
					fmt.Sprintf("last registered or marked at %s", h.SeenAt.Time().Format("2006-01-02 15:04:05Z")),
				}})
			}
		}
		return notFound("host", name)
	}
	return fail("bad_request", "", "rexctl why jail/NAME", "object must be \"jail NAME\" or \"host NAME\"")
}

// whyJail says what a jail is, then every fact that makes it so.
func (s *Server) whyJail(st *fsm.State, j *fsm.Jail) Why {
	run, _ := st.Runs.Get(j.Spec.Name)
	row := rowOf(st, j, run)
	out := Why{Object: "jail " + row.Name, Summary: summary(row), Reasons: []string{}}
	add := func(format string, args ...any) { out.Reasons = append(out.Reasons, fmt.Sprintf(format, args...)) }
	if j.Want != fsm.WantRunning {
		add("it is wanted %s", j.Want)
	}
	if b, ok := st.Builds.Get(j.Spec.ImageKey); !ok || len(b.Hosts) == 0 {
		add("image %s is not built on any host: rexctl apply builds it", j.Spec.Image)
	}
	for _, group := range j.Spec.Depends {
		if text := waitsFor(st, group); text != "" {
			add("%s", text)
		}
	}
	if run, ok := st.Runs.Get(row.Name); ok {
		out.Reasons = append(out.Reasons, whyRun(row, run)...)
	}
	if s.cfg.Explain != nil {
		out.Reasons = append(out.Reasons, s.cfg.Explain(st, fsm.JailName(row.Name))...)
	}
	return out
}

func summary(row JailRow) string {
	text := row.Phase
	if row.Phase == fsm.Running.String() {
		text += ", " + row.Health
	}
	if row.Host != "" {
		text += " on " + row.Host
	}
	return text
}

func waitsFor(st *fsm.State, group string) string {
	g, ok := st.Groups.Get(group)
	if !ok {
		return "depends on " + group + ", which does not exist"
	}
	var not []string
	for _, name := range g.Jails {
		run, ok := st.Runs.Get(string(name))
		if !ok || run.Phase != fsm.Running || run.Health != fsm.HealthHealthy {
			not = append(not, string(name))
		}
	}
	if len(not) == 0 {
		return ""
	}
	return "waits for " + strings.Join(not, ", ") + " to be healthy"
}

func whyRun(row JailRow, run *fsm.Run) []string {
	var out []string
	if run.Why != "" {
		out = append(out, fmt.Sprintf("placed on %s: %s", row.Host, run.Why))
	}
	if run.StopWhy != "" {
		out = append(out, "ends because: "+run.StopWhy)
	}
	if run.Reason != "" {
		out = append(out, "the host says: "+run.Reason)
	}
	if run.Exit != nil && run.Exit.Known {
		text := fmt.Sprintf("its process ended with code %d", run.Exit.Code)
		if run.Exit.Signal != "" {
			text += " by " + run.Exit.Signal
		}
		if run.Exit.OOM {
			text += ": out of memory, raise limits.memory"
		}
		out = append(out, text)
	}
	if run.Attempt > 0 {
		out = append(out, fmt.Sprintf("%d failed starts in a row before this run", run.Attempt))
	}
	if !row.UpToDate && row.Want == string(fsm.WantRunning) {
		out = append(out, "its run is of an older declaration and will be replaced")
	}
	return out
}
