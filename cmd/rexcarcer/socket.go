package main

import (
	"context"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/dnsd"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent"
	"github.com/rexcarcer/rexcarcer/netsock"
)

// socketPace is the least time between two looks for jails that may ask.
const socketPace = 20 * time.Millisecond

// serveSockets listens for each jail of this host that may ask, in each of
// its networks.
func (d *daemon) serveSockets(ctx context.Context) error {
	if d.o.Runtime == "sim" {
		return nil // nobody would ask
	}
	metrics := netsock.NewMetrics(d.reg)
	var wg sync.WaitGroup
	defer wg.Wait()
	open := map[netsock.Who]context.CancelFunc{}
	for {
		changed := d.node.Watch()
		wanted := socketsOf(d.node.State(), d.node.ID())
		for who := range wanted {
			if open[who] != nil {
				continue
			}
			one, cancel := context.WithCancel(ctx)
			open[who] = cancel
			wg.Go(func() { d.serveSocket(one, who, metrics) })
		}
		for who, cancel := range open {
			if !wanted[who] {
				cancel()
				delete(open, who)
			}
		}
		select {
		case <-time.After(socketPace):
		case <-ctx.Done():
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// socketsOf lists the sockets that a host has to serve.
func socketsOf(s *fsm.State, host fsm.HostID) map[netsock.Who]bool {
	out := map[netsock.Who]bool{}
	for _, run := range s.RunsOn(host) {
		j, ok := s.Jails.Get(string(run.Jail))
		if !ok || !j.Spec.Socket {
			continue
		}
		for _, a := range j.Addrs {
			out[netsock.Who{Jail: run.Jail, UUID: j.UUID, Network: a.Network}] = true
		}
	}
	return out
}

func (d *daemon) serveSocket(ctx context.Context, who netsock.Who, metrics *netsock.Metrics) {
	path := hostagent.JailSocketPath(d.o.RunDir, who.UUID, who.Network)
	err := hostagent.MakeJailSocketDir(path)
	if err == nil {
		l, lerr := dnsd.ListenFeed(path, 0o666)
		if err = lerr; err == nil {
			err = netsock.Serve(ctx, l, netsock.Config{
				Who: who, State: d.node.State, Metrics: metrics, Log: d.log,
				Mine:  func(uid uint32) bool { return d.ownsUID(ctx, who, uid) },
				Leave: d.leave,
			})
		}
	}
	if err != nil && ctx.Err() == nil {
		d.log.Error("a jail cannot ask about itself", "jail", who.Jail, "network", who.Network, "err", err)
	}
}

func (d *daemon) ownsUID(ctx context.Context, who netsock.Who, uid uint32) bool {
	j, ok := d.node.State().Jails.Get(string(who.Jail))
	if !ok || j.UUID != who.UUID {
		return false
	}
	mine, err := d.agent.OwnsUID(ctx, j, uid)
	if err != nil {
		d.log.Error("cannot tell whose uid asks", "jail", who.Jail, "err", err)
	}
	return mine
}

// leave is a jail's own wish to end.
func (d *daemon) leave(ctx context.Context, name fsm.JailName) error {
	_, err := d.node.Propose(ctx, "jail/"+string(name), fsm.WantJail{Jail: name, Want: fsm.WantStopped})
	return err
}
