package api

import (
	"context"
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Guess says what would come of a WhatIf: a JSON-able value of the shape of
// Outcome. Hosts are given by id.
type Guess func(s *fsm.State, w WhatIf) (any, error)

// WhatIf is what might happen, all of it together. Nothing of it does.
type WhatIf struct {
	Wish  *spec.Wish     `json:"wish,omitempty"`  // is applied
	Scale map[string]int `json:"scale,omitempty"` // jails with a count have another
	Add   []NewHost      `json:"add,omitempty"`   // hosts join
	Lost  []string       `json:"lost,omitempty"`  // hosts are lost, by name or id
	Drain []string       `json:"drain,omitempty"` // hosts are drained
}

// NewHost is a host that there is not.
type NewHost struct {
	Name     string            `json:"name"`
	Capacity fsm.Resources     `json:"capacity"` // 0: without limit
	Labels   map[string]string `json:"labels,omitempty"`
	OS       string            `json:"os,omitempty"` // this and the next two: default as the others
	Arch     string            `json:"arch,omitempty"`
	Runtime  string            `json:"runtime,omitempty"`
}

// Outcome is what would come of it.
type Outcome struct {
	Fits    bool       `json:"fits"`    // nobody waits who does not wait without it
	Jails   []Relocate `json:"jails"`   // that would run elsewhere, start, or stop
	Waiting []Waits    `json:"waiting"` // all that would have no place
	Hosts   []HostFill `json:"hosts"`
}

// Relocate is a jail that would be somewhere else.
type Relocate struct {
	Jail string `json:"jail"`
	From string `json:"from,omitempty"` // empty: it does not run now
	To   string `json:"to,omitempty"`   // empty: it would not run
	Why  string `json:"why,omitempty"`
}

// Waits is a jail that would have no place.
type Waits struct {
	Jail string `json:"jail"`
	Why  string `json:"why"`
}

// HostFill is how full a host would be.
type HostFill struct {
	Name     string        `json:"name"`
	State    string        `json:"state"`
	Capacity fsm.Resources `json:"capacity"`
	Before   fsm.Resources `json:"before"`
	After    fsm.Resources `json:"after"`
}

func (s *Server) whatIf(r *request) error {
	var in WhatIf
	if err := r.decode(&in); err != nil {
		return err
	}
	st := s.cfg.Log.State()
	if s.cfg.Guess == nil {
		return fail("unavailable", "", "", "this server has no scheduler to ask")
	}
	for _, list := range [][]string{in.Lost, in.Drain} {
		for i, name := range list {
			h, err := findHost(st, name)
			if err != nil {
				return err
			}
			list[i] = string(h.ID)
		}
	}
	for i := range in.Add {
		if in.Add[i].Name == "" {
			in.Add[i].Name = fmt.Sprintf("new-%d", i+1)
		}
	}
	out, err := s.cfg.Guess(st, in)
	if err != nil {
		return err
	}
	return r.reply(st.Index, out)
}

// WhatIf asks what would come of w.
func (c *Client) WhatIf(ctx context.Context, w WhatIf) (Outcome, error) {
	var out Outcome
	_, err := c.call(ctx, "POST", "/v1/what-if", nil, 0, w, &out)
	return out, err
}
