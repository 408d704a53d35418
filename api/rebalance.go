package api

import (
	"context"
	"strconv"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Leveller proposes at most n moves: a JSON-able value of the shape of []Shift.
type Leveller func(s *fsm.State, n int) any

// Shift is a move that would level the cluster.
type Shift struct {
	Jail string  `json:"jail"`
	From string  `json:"from"`
	To   string  `json:"to"`
	Gain float64 `json:"gain"` // how much better the score of To is
	Why  string  `json:"why"`  // the score of To
}

// The number of moves that is proposed where none is asked for, and the most.
const (
	someShifts = 10
	maxShifts  = 1000
)

func (s *Server) rebalance(r *request) error {
	n := someShifts
	if text := r.URL.Query().Get("max"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > maxShifts {
			return fail("bad_request", "", "--max-moves 10", "max=%q: want 1 to %d", text, maxShifts)
		}
	}
	if s.cfg.Level == nil {
		return fail("unavailable", "", "", "this server has no scheduler to ask")
	}
	st := s.cfg.Log.State()
	return r.reply(st.Index, s.cfg.Level(st, n))
}

// Rebalance asks for at most n moves that would level the cluster.
func (c *Client) Rebalance(ctx context.Context, n int) ([]Shift, error) {
	return only(get[[]Shift](ctx, c, "/v1/rebalance", "max", strconv.Itoa(n)))
}
