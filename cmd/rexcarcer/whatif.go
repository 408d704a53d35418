package main

import (
	"context"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/plan"
	"github.com/rexcarcer/rexcarcer/scheduler"
	"github.com/rexcarcer/rexcarcer/spec"
)

// present is s with its clock at now: a dry run begins now, and its time runs
// ahead.
func present(s *fsm.State) *fsm.State {
	at := *s
	at.Now = max(s.Now, fsm.TimeOf(time.Now()))
	return &at
}

// scheduled is the scheduler as package plan asks it.
func scheduled(s *fsm.State) []fsm.Command { return scheduler.Schedule(s, s.Now).Commands }

// asked lets the API ask the scheduler.
func (d *daemon) asked(cfg *api.Config) {
	cfg.Place, cfg.Guess = d.placement, d.guess
	cfg.Level = func(s *fsm.State, n int) any { return scheduler.Rebalance(s, fsm.TimeOf(time.Now()), n) }
	cfg.Hinders = func(s *fsm.State, jail fsm.JailName, host fsm.HostID) (never, wished []string) {
		return scheduler.Hinders(s, jail, host, fsm.TimeOf(time.Now()))
	}
}

// placement says what the scheduler thinks of every host for a jail, and with a
// wish for the State in which that has come true.
func (d *daemon) placement(s *fsm.State, w *spec.Wish, jail fsm.JailName) (any, error) {
	at := present(s)
	if w != nil {
		var err error
		if at, err = plan.Settled(w, at, scheduled); err != nil {
			return nil, err
		}
	}
	return scheduler.Explain(at, jail, at.Now), nil
}

// opinion is the scheduler as package plan asks it what waits.
func opinion(s *fsm.State) ([]fsm.Command, []plan.Waits) {
	d := scheduler.Schedule(s, s.Now)
	waits := make([]plan.Waits, len(d.Pending))
	for i, u := range d.Pending {
		waits[i] = plan.Waits{Jail: string(u.Jail), Why: u.Why}
	}
	return d.Commands, waits
}

// guess plays what might happen.
func (d *daemon) guess(s *fsm.State, in api.WhatIf) (any, error) {
	if in.Wish != nil {
		if err := d.agent.Check(context.Background(), in.Wish); err != nil {
			return nil, err
		}
	}
	w := plan.WhatIf{Wish: in.Wish, Scale: in.Scale}
	for _, h := range in.Add {
		w.Add = append(w.Add, fsm.Host{ID: fsm.HostID(h.Name), Name: h.Name, Capacity: h.Capacity, Labels: h.Labels, OS: h.OS, Arch: h.Arch, Runtime: h.Runtime})
	}
	for _, id := range in.Lost {
		w.Lost = append(w.Lost, fsm.HostID(id))
	}
	for _, id := range in.Drain {
		w.Drain = append(w.Drain, fsm.HostID(id))
	}
	return w.Try(present(s), opinion)
}
