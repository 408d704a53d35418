package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// faults are all that the cluster must survive.
func faults() []fault {
	return []fault{
		{name: "kill -9 of the leader", times: 50, limit: 5 * time.Second, strike: killLeader},
		{name: "kill -9 of a follower", times: 50, limit: 2 * time.Second, strike: killFollower},
		{name: "kill -9 of all", times: 20, limit: 10 * time.Second, strike: killAll},
		{name: "leader cut from the majority", times: 5, limit: 5 * time.Second, hold: 3 * time.Second, strike: cutLeader},
		{name: "a follower cut off", times: 5, limit: 2 * time.Second, hold: 3 * time.Second, strike: cutFollower},
		{name: "leader deaf (one way)", times: 3, limit: 8 * time.Second, hold: 3 * time.Second, strike: deafLeader},
		{name: "leader mute (one way)", times: 3, limit: 8 * time.Second, hold: 3 * time.Second, strike: muteLeader},
		{name: "followers cut from each other", times: 3, limit: 2 * time.Second, hold: 3 * time.Second, strike: cutFollowers},
		{name: "20 % of all frames lost", times: 1, limit: 15 * time.Second, hold: 30 * time.Second, strike: everywhere(rule{loss: 0.2})},
		{name: "200 ms delay each way", times: 1, limit: 15 * time.Second, hold: 30 * time.Second, strike: everywhere(rule{delay: 200 * time.Millisecond})},
		{name: "leader's disk frozen", times: 3, limit: 15 * time.Second, strike: freezeLeader},
		{name: "leader's disk full", times: 3, limit: 15 * time.Second, hold: 5 * time.Second, strike: fillLeader},
		{name: "raft.db cut, back as a new host", times: 2, limit: 2 * time.Second, strike: damaged("raft.db", cutFile)},
		{name: "log cut, back as a new host", times: 2, limit: 2 * time.Second, strike: damaged("log-*", cutFile)},
		{name: "log flipped, back as a new host", times: 2, limit: 2 * time.Second, strike: damaged("log-*", flipFile)},
		{name: "newest snapshot corrupt", times: 2, limit: 2 * time.Second, strike: badSnapshot},
		{name: "clock a year ahead", times: 1, limit: 2 * time.Second, hold: 10 * time.Second, strike: clock(year)},
		{name: "clock a year behind", times: 1, limit: 2 * time.Second, hold: 10 * time.Second, strike: clock(-year)},
	}
}

// short are the faults that the tests do, each once, in two clusters side by side: those of machines, and those of the wire.
func short() (machines, wire []fault) {
	for _, f := range faults() {
		switch f.name {
		case "kill -9 of the leader", "kill -9 of a follower", "kill -9 of all", "leader's disk frozen", "leader's disk full", "log flipped, back as a new host":
			f.hold = min(f.hold, time.Second)
			machines = append(machines, f)
		case "leader cut from the majority", "a follower cut off", "leader deaf (one way)", "20 % of all frames lost", "200 ms delay each way":
			f.hold = min(f.hold, time.Second)
			wire = append(wire, f)
		}
	}
	return machines, wire
}

func (l *lab) names(hosts ...*host) (out []string) {
	for _, h := range hosts {
		out = append(out, h.name)
	}
	return out
}

// restart is the heal of what killed daemons.
func restart(hosts ...*host) func(context.Context) error {
	return func(context.Context) error {
		for _, h := range hosts {
			if err := h.start(); err != nil {
				return err
			}
		}
		return nil
	}
}

func (l *lab) healWire(context.Context) error {
	l.wire.heal()
	return nil
}

func killLeader(ctx context.Context, l *lab) (func(context.Context) error, error) {
	leads, _, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	return restart(leads), leads.kill()
}

func killFollower(ctx context.Context, l *lab) (func(context.Context) error, error) {
	_, rest, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	return restart(rest[0]), rest[0].kill()
}

func killAll(ctx context.Context, l *lab) (func(context.Context) error, error) {
	var errs []error
	for _, h := range l.all {
		errs = append(errs, h.kill())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return func(context.Context) error { return nil }, restart(l.all...)(ctx)
}

// cutLeader lets the leader stand alone: it must stop to acknowledge, and to
// answer consistent reads, though its clients still reach it.
func cutLeader(ctx context.Context, l *lab) (func(context.Context) error, error) {
	leads, rest, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	l.wire.set(rule{loss: 1}, l.names(leads), l.names(rest...))
	return func(ctx context.Context) error {
		err := wait(ctx, patience, leads.name+" refuses a consistent read while it is alone", func() error {
			ctx, cancel := asking(ctx)
			defer cancel()
			res, err := leads.client.Do(ctx, "GET", "/v1/hosts?consistent", nil, nil)
			if err == nil {
				return errors.Join(fmt.Errorf("it answered: %s", res.Status), res.Body.Close())
			}
			return nil
		})
		return errors.Join(err, l.healWire(ctx))
	}, nil
}

func cutFollower(ctx context.Context, l *lab) (func(context.Context) error, error) {
	leads, rest, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	l.wire.set(rule{loss: 1}, l.names(rest[0]), l.names(leads, rest[1]))
	return func(ctx context.Context) error {
		now, _, err := l.leader(ctx, leads)
		if err == nil && now != leads && l.strict {
			err = fmt.Errorf("%s led, and now %s does, though only %s was cut off", leads.name, now.name, rest[0].name)
		}
		return errors.Join(err, l.healWire(ctx))
	}, nil
}

func deafLeader(ctx context.Context, l *lab) (func(context.Context) error, error) {
	leads, rest, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range rest {
		l.wire.oneWay(rule{loss: 1}, h.name, leads.name)
	}
	return l.healWire, nil
}

func muteLeader(ctx context.Context, l *lab) (func(context.Context) error, error) {
	leads, rest, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range rest {
		l.wire.oneWay(rule{loss: 1}, leads.name, h.name)
	}
	return l.healWire, nil
}

func cutFollowers(ctx context.Context, l *lab) (func(context.Context) error, error) {
	_, rest, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	l.wire.set(rule{loss: 1}, l.names(rest[0]), l.names(rest[1]))
	return l.healWire, nil
}

func everywhere(r rule) func(context.Context, *lab) (func(context.Context) error, error) {
	return func(_ context.Context, l *lab) (func(context.Context) error, error) {
		names := l.names(l.all...)
		l.wire.set(r, names, names)
		return l.healWire, nil
	}
}
