package api

import (
	"context"
	_ "embed"
	"encoding/hex"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

//go:embed openapi.json
var openapiDoc []byte

func (s *Server) version(r *request) error {
	return r.reply(s.cfg.Log.State().Index, Version{
		Version: s.cfg.Version, API: "v1", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
	})
}

func (s *Server) openapi(r *request) error {
	r.w.Header().Set("Content-Type", "application/json")
	_, _ = r.w.Write(openapiDoc) // the peer is gone if this fails
	return nil
}

func (s *Server) status(r *request) error {
	st, err := s.current(r)
	if err != nil {
		return err
	}
	return r.reply(st.Index, s.statusOf(st))
}

func (s *Server) statusOf(st *fsm.State) Status {
	out := Status{
		ClusterID: st.Cluster.ID, Domain: st.Cluster.Domain, Host: s.cfg.Host.ID(), Version: s.cfg.Version,
		Index: st.Index, PlanIndex: st.PlanIndex, Chain: hex.EncodeToString(st.Chain[:]), Now: st.Now.Time(),
		Networks: st.Networks.Len(), Images: st.Images.Len(), Leases: st.Leases.Len(), Records: st.Records.Len(),
		Wishes: []string{},
	}
	out.CALocked = s.cfg.Trust != nil && s.cfg.Trust.Locked()
	if h, ok := st.Hosts.Get(string(s.cfg.Host.ID())); ok {
		out.HostName, out.Runtime, out.Simulated = h.Name, h.Runtime, h.Runtime == "sim"
	}
	for name := range st.Wishes.All {
		out.Wishes = append(out.Wishes, name)
	}
	for _, h := range st.Hosts.All {
		out.Hosts.Total++
		if h.State == fsm.HostAlive {
			out.Hosts.Alive++
		}
		out.Alarms = append(out.Alarms, alarmsOf(h)...)
	}
	for j, run := range fsm.Beside(st.Jails, st.Runs) {
		count(&out.Jails, rowOf(st, j, run))
	}
	return out
}

func count(c *JailCount, row JailRow) {
	c.Total++
	switch {
	case row.Phase == fsm.Running.String():
		c.Running++
	case row.Want != string(fsm.WantRunning):
		c.Stopped++
	case row.Phase == fsm.Failed.String():
		c.Failed++
	case row.Phase == fsm.Stopped.String():
		c.Stopped++
	default:
		c.Pending++
	}
	switch row.Health {
	case string(fsm.HealthHealthy):
		c.Healthy++
	case string(fsm.HealthUnhealthy):
		c.Unhealthy++
	}
}

// current is the State to answer from: the newest one, or with ?index=N the
// first past N. When the wait is over without one, the newest is good enough.
func (s *Server) current(r *request) (*fsm.State, error) {
	q := r.URL.Query()
	if q.Get("index") == "" || r.past != nil {
		return s.state(r), nil
	}
	after, err := strconv.ParseUint(q.Get("index"), 10, 64)
	if err != nil {
		return nil, fail("bad_request", "", "", "index=%q is not a log index", q.Get("index"))
	}
	ctx, cancel, err := r.waiting()
	if err != nil {
		return nil, err
	}
	defer cancel()
	st, err := s.cfg.Log.Wait(ctx, func(st *fsm.State) bool { return st.Index > after })
	switch {
	case err == nil:
		return st, nil
	case r.Context().Err() != nil || ctx.Err() == nil:
		return nil, err
	}
	return s.cfg.Log.State(), nil
}

// waiting is the request's context for as long as ?wait= says. The request's
// own deadline is as long: it leaves time to answer.
func (r *request) waiting() (context.Context, context.CancelFunc, error) {
	wait := 30 * time.Second
	if text := r.URL.Query().Get("wait"); text != "" {
		var err error
		wait, err = time.ParseDuration(text)
		if err != nil || wait < 0 || wait > time.Minute {
			return nil, nil, fail("bad_request", "", "", "wait=%q is not a duration of 0s to 60s", text)
		}
	}
	ctx, cancel := timeoutBefore(r.Context(), wait)
	return ctx, cancel, nil
}

// base is the index that the user's plan was made at: If-Match or ?base=.
func base(r *request) (uint64, error) {
	text := r.Header.Get("If-Match")
	if text == "" {
		text = r.URL.Query().Get("base")
	}
	if text == "" || text == "*" {
		return 0, nil
	}
	if n := len(text); n > 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1] // an entity tag is quoted: RFC 9110, section 8.8.3
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fail("bad_request", "", "give the base_index of a plan", "If-Match or base %q is not a log index", text)
	}
	return n, nil
}

func flagParam(r *http.Request, name string) (bool, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, fail("bad_request", "", "", "%s=%q is not true or false", name, text)
	}
	return b, nil
}
