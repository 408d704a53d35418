package api

import (
	"context"
	"net/url"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Placer says what the scheduler thinks of every host for a jail: a JSON-able
// value of the shape of Placement. With a wish it answers for the cluster as it
// would be once that was applied.
type Placer func(s *fsm.State, w *spec.Wish, jail fsm.JailName) (any, error)

// Placement is what the scheduler thinks of every host for one jail.
type Placement struct {
	Jail    string          `json:"jail"`
	Summary string          `json:"summary"`
	Host    string          `json:"host,omitempty"`    // where its live run is
	Placed  string          `json:"placed,omitempty"`  // why that host was chosen then
	Waiting string          `json:"waiting,omitempty"` // why it does not run, or is not up to date
	Best    string          `json:"best,omitempty"`    // that would be chosen now; empty: none
	Hosts   []PlacementHost `json:"hosts"`
}

// PlacementHost is one host's answer.
type PlacementHost struct {
	ID      fsm.HostID        `json:"id"`
	Name    string            `json:"name"`
	Fits    bool              `json:"fits"`
	Current bool              `json:"current,omitempty"` // its live run is here; it is scored without it
	Filters []PlacementFilter `json:"filters"`           // in the order in which they are asked
	Score   float64           `json:"score"`             // sum of the terms; 0 where it does not fit
	Terms   []PlacementTerm   `json:"terms,omitempty"`
}

// PlacementFilter is what one filter says of a host.
type PlacementFilter struct {
	Filter string `json:"filter"`
	OK     bool   `json:"ok"`
	Why    string `json:"why,omitempty"` // set where it refuses
}

// PlacementTerm is one part of a score.
type PlacementTerm struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

func (s *Server) placement(r *request) error {
	st := s.cfg.Log.State()
	j, err := s.jailNamed(r, st)
	if err != nil {
		return err
	}
	return s.placed(r, st, nil, j.Spec.Name)
}

// placementOf answers for a wish that nobody has applied.
func (s *Server) placementOf(r *request) error {
	name := r.PathValue("name")
	var w spec.Wish
	if err := r.decode(&w); err != nil {
		return err
	}
	for i := range w.Jails {
		if w.Jails[i].Name == name {
			return s.placed(r, s.cfg.Log.State(), &w, name)
		}
	}
	return fail("not_found", "jail "+name, "rexctl plan lists what the file declares", "the wish %s declares no such jail", w.Name)
}

func (s *Server) placed(r *request, st *fsm.State, w *spec.Wish, jail string) error {
	if s.cfg.Place == nil {
		return fail("unavailable", "jail "+jail, "", "this server has no scheduler to ask")
	}
	p, err := s.cfg.Place(st, w, fsm.JailName(jail))
	if err != nil {
		return err
	}
	return r.reply(st.Index, p)
}

// Placement asks what the scheduler thinks of every host for a jail; with a
// wish, once that was applied.
func (c *Client) Placement(ctx context.Context, jail string, w *spec.Wish) (Placement, error) {
	path := "/v1/jails/" + url.PathEscape(jail) + "/placement"
	if w == nil {
		return only(get[Placement](ctx, c, path))
	}
	var out Placement
	_, err := c.call(ctx, "POST", path, nil, 0, w, &out)
	return out, err
}
