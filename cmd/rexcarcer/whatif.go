package main

import (
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
	cfg.Place = d.placement
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
