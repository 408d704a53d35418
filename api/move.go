package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Hinders says what keeps a jail from running on a host apart from its
// volumes: never, or only because somebody wished so.
type Hinders func(s *fsm.State, jail fsm.JailName, host fsm.HostID) (never, wished []string)

// MoveRequest asks for a move.
type MoveRequest struct {
	To    string `json:"to"`              // name or id of a host
	Force bool   `json:"force,omitempty"` // of a jail: also where a pin or a constraint forbids it
}

// MoveRow is a jail or a volume on its way from host to host, or the last way
// that it went.
type MoveRow struct {
	Object    string    `json:"object"` // name of the jail, or id of the volume
	Kind      string    `json:"kind"`   // jail, volume
	ID        uint64    `json:"id"`
	Volumes   []string  `json:"volumes"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Phase     string    `json:"phase"` // asked, copied, stopped, placed, done, failed
	Bytes     int64     `json:"bytes"` // that came over the line
	Down      float64   `json:"down_seconds"`
	Clean     bool      `json:"clean"` // both hosts have tidied up
	By        string    `json:"by"`
	Reason    string    `json:"reason,omitempty"`
	Error     string    `json:"error,omitempty"`
	AskedAt   time.Time `json:"asked_at"`
	StoppedAt time.Time `json:"stopped_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// VolumeHome is which host has a volume.
type VolumeHome struct {
	Volume string    `json:"volume"`
	Host   string    `json:"host"`
	Since  time.Time `json:"since"`
}

func moveRoutes() []route {
	pObject := param{"object", "string", "only of this jail or volume"}
	return []route{
		{method: "POST", pattern: "/v1/jails/{name}/move", access: forWrite, summary: "Move a jail and its volumes to another host", in: MoveRequest{}, out: Applied{}, handle: (*Server).moveJail},
		{method: "DELETE", pattern: "/v1/jails/{name}/move", access: forWrite, summary: "Give up a move before the jail was stopped for it", out: Applied{}, handle: (*Server).cancelJailMove},
		{method: "POST", pattern: "/v1/volumes/{name}/move", access: forWrite, summary: "Move a volume that no jail declares to another host", in: MoveRequest{}, out: Applied{}, handle: (*Server).moveVolume},
		{method: "DELETE", pattern: "/v1/volumes/{name}/move", access: forWrite, summary: "Give up a move of a volume", out: Applied{}, handle: (*Server).cancelVolumeMove},
		{method: "GET", pattern: "/v1/moves", access: forRead, summary: "What moves from host to host, and the last moves", query: []param{pObject, pIndex, pWait}, out: []MoveRow{}, handle: (*Server).listMoves},
		{method: "GET", pattern: "/v1/volume-homes", access: forRead, summary: "Which host has which volume, in the whole cluster", out: []VolumeHome{}, handle: (*Server).listVolumeHomes},
	}
}

// target is the host that a request names.
func (s *Server) target(r *request, st *fsm.State) (MoveRequest, *fsm.Host, error) {
	var in MoveRequest
	if err := r.decode(&in); err != nil {
		return in, nil, err
	}
	if in.To == "" {
		return in, nil, fail("invalid", "", "rexctl host ls", "say to which host")
	}
	h, err := findHost(st, in.To)
	return in, h, err
}

func (s *Server) moveJail(r *request) error {
	st := s.cfg.Log.State()
	j, err := s.jailNamed(r, st)
	if err != nil {
		return err
	}
	in, h, err := s.target(r, st)
	if err != nil {
		return err
	}
	name := fsm.JailName(j.Spec.Name)
	cmd := fsm.MoveJail{Jail: name, To: h.ID}
	live := st.LiveRun(name)
	if s.cfg.Hinders != nil && (live == nil || live.Host != h.ID) { // else the log says that it is there
		never, wished := s.cfg.Hinders(st, name, h.ID)
		switch {
		case len(never) > 0:
			return fail("failed", "jail "+j.Spec.Name, "rexctl why-not "+j.Spec.Name+" "+h.Name, "it cannot run on host %s: %s", h.Name, strings.Join(never, "; "))
		case len(wished) > 0 && !in.Force:
			return fail("failed", "jail "+j.Spec.Name, "--force, or change what the file says of its placement", "it shall not run on host %s: %s", h.Name, strings.Join(wished, "; "))
		case len(wished) > 0:
			cmd.Why = "by force, against " + strings.Join(wished, "; ")
		}
	}
	if err := sameStorage(st, j, h); err != nil {
		return err
	}
	s.tidied(r, j.Spec.Name)
	return s.proposeMove(r, cmd)
}

// tidyTime is how long the last move of the same thing may be tidied up after
// before the next one is refused.
const tidyTime = 15 * time.Second

// tidied waits for that; whether it came in time is for the log to judge.
func (s *Server) tidied(r *request, object string) {
	ctx, cancel := context.WithTimeout(r.Context(), tidyTime)
	defer cancel()
	_, _ = s.cfg.Log.Wait(ctx, func(st *fsm.State) bool {
		for _, m := range st.MovesOf(object) {
			if !m.Active() && (!m.FromClean || !m.ToClean) {
				return false
			}
		}
		return true
	})
}

// proposeMove is propose for what is no plan: a conflict is no reason to make
// one anew.
func (s *Server) proposeMove(r *request, cmd fsm.Command) error {
	err := s.propose(r, cmd)
	if refusal := (*fsm.Refusal)(nil); errors.As(err, &refusal) && refusal.Code == fsm.CodeConflict {
		return fail("failed", refusal.Object, "rexctl move ls", "%s", refusal.Text)
	}
	return err
}

// sameStorage refuses what the target would find out: volumes do not go from
// one kind of storage to another.
func sameStorage(st *fsm.State, j *fsm.Jail, to *fsm.Host) error {
	from, ok := st.Hosts.Get(string(st.HomeOf(j)))
	if !ok {
		return nil
	}
	return storageFits("jail "+j.Spec.Name, from, to)
}

func storageFits(object string, from, to *fsm.Host) error {
	a, b := from.Features["storage"], to.Features["storage"]
	if a == "" || b == "" || a == b {
		return nil
	}
	return fail("failed", object, "rexctl host show "+to.Name, "its volumes are on %s on host %s, and host %s has %s: neither reads the other's streams", a, from.Name, to.Name, b)
}

func (s *Server) moveVolume(r *request) error {
	st := s.cfg.Log.State()
	name, err := r.volumeName()
	if err != nil {
		return err
	}
	_, h, err := s.target(r, st)
	if err != nil {
		return err
	}
	if v, ok := st.Volumes.Get(name); ok {
		if from, ok := st.Hosts.Get(string(v.Host)); ok {
			if err := storageFits("volume "+name, from, h); err != nil {
				return err
			}
		}
	}
	s.tidied(r, name)
	return s.proposeMove(r, fsm.MoveVolume{Volume: name, To: h.ID})
}

func (s *Server) cancelJailMove(r *request) error {
	j, err := s.jailNamed(r, s.cfg.Log.State())
	if err != nil {
		return err
	}
	return s.proposeMove(r, fsm.CancelMove{Object: j.Spec.Name})
}

func (s *Server) cancelVolumeMove(r *request) error {
	name, err := r.volumeName()
	if err != nil {
		return err
	}
	return s.proposeMove(r, fsm.CancelMove{Object: name})
}

func (s *Server) listMoves(r *request) error {
	st, err := s.current(r)
	if err != nil {
		return err
	}
	only := r.URL.Query().Get("object")
	rows := []MoveRow{}
	for _, m := range st.Moves.All {
		if only == "" || m.Object() == only {
			rows = append(rows, moveRow(st, m))
		}
	}
	slices.SortStableFunc(rows, func(a, b MoveRow) int { return a.AskedAt.Compare(b.AskedAt) })
	return r.reply(st.Index, rows)
}

func moveRow(st *fsm.State, m *fsm.Move) MoveRow {
	row := MoveRow{
		Object: m.Object(), Kind: "volume", ID: m.ID, Volumes: m.Volumes, From: hostName(st, m.From), To: hostName(st, m.To), Phase: string(m.Phase),
		Bytes: m.Bytes, Down: m.Down.Seconds(), Clean: m.FromClean && m.ToClean, By: m.By, Reason: m.Reason, Error: m.Error,
		AskedAt: when(m.AskedAt), StoppedAt: when(m.StoppedAt), EndedAt: when(m.EndedAt),
	}
	if m.Jail != "" {
		row.Kind = "jail"
	}
	if row.Volumes == nil {
		row.Volumes = []string{}
	}
	return row
}

func (s *Server) listVolumeHomes(r *request) error {
	st := s.cfg.Log.State()
	rows := []VolumeHome{}
	for id, v := range st.Volumes.All {
		rows = append(rows, VolumeHome{Volume: id, Host: hostName(st, v.Host), Since: when(v.Since)})
	}
	return r.reply(st.Index, rows)
}
