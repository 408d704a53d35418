package api

import (
	"context"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

func (s *Server) listWishes(r *request) error {
	st := s.state(r)
	rows := []WishRow{}
	for _, w := range st.Wishes.All {
		rows = append(rows, WishRow{w.Name, w.Source, w.Domain, len(w.Networks), len(w.Images), len(w.Jails)})
	}
	return r.reply(st.Index, rows)
}

func (s *Server) showWish(r *request) error {
	st := s.state(r)
	w, ok := st.Wishes.Get(r.PathValue("name"))
	if !ok {
		return notFound("wish", r.PathValue("name"))
	}
	return r.reply(st.Index, w)
}

func (s *Server) plan(r *request) error {
	var w spec.Wish
	if err := r.decode(&w); err != nil {
		return err
	}
	st := s.cfg.Log.State()
	p, err := s.cfg.Plan(st, &w)
	if err != nil {
		return err
	}
	return r.reply(st.Index, p)
}

func (s *Server) destroyPlan(r *request) error {
	name := r.PathValue("name")
	st := s.cfg.Log.State()
	if _, ok := st.Wishes.Get(name); !ok {
		return notFound("wish", name)
	}
	var p any
	var err error
	if s.cfg.Destroy != nil {
		p, err = s.cfg.Destroy(st, name)
	} else {
		p, err = s.cfg.Plan(st, &spec.Wish{Name: name})
	}
	if err != nil {
		return err
	}
	return r.reply(st.Index, p)
}

func (s *Server) applyWish(r *request) error {
	var w spec.Wish
	if err := r.decode(&w); err != nil {
		return err
	}
	if name := r.PathValue("name"); name != w.Name {
		return fail("bad_request", "wish "+name, "", "the body is the wish %q", w.Name)
	}
	// A forged key would let one build stand for another in the layer cache.
	if err := w.VerifyKeys(); err != nil {
		return fail("invalid", "wish "+w.Name, "apply the file with rexctl, which makes the keys", "%v", err)
	}
	at, err := base(r)
	if err != nil {
		return err
	}
	return s.propose(r, fsm.ApplyWish{Wish: w, Base: at})
}

func (s *Server) destroyWish(r *request) error {
	at, err := base(r)
	if err != nil {
		return err
	}
	return s.propose(r, fsm.DestroyWish{Name: r.PathValue("name"), Base: at})
}

// propose proposes as the one who asks and answers what came of it.
func (s *Server) propose(r *request, cmd fsm.Command) error {
	return s.proposeAs(r.Context(), r, r.by, cmd)
}

func (s *Server) proposeAs(ctx context.Context, r *request, by string, cmd fsm.Command) error {
	done, err := s.cfg.Log.Propose(ctx, by, cmd)
	if err != nil {
		return err
	}
	out := Applied{Index: done.Index, Events: []Event{}}
	for i, h := range done.Events {
		out.Events = append(out.Events, eventOf(h, i+1))
	}
	return r.reply(done.Index, out)
}
