package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/rexcarcer/rexcarcer/cluster/gossip"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// runGossip sees who is alive, once the log has a key for it.
func (d *daemon) runGossip(ctx context.Context) error {
	if d.peers == nil || d.o.GossipPort == 0 {
		return nil
	}
	s, err := d.node.Wait(ctx, func(s *fsm.State) bool { return s.Cluster.GossipKeys[0] != "" })
	if err != nil {
		return nil //nolint:nilerr // the daemon ends
	}
	keys, err := gossipKeys(s)
	if err != nil {
		return err
	}
	g, err := gossip.Start(gossip.Config{
		ID: string(d.node.ID()), Cluster: s.Cluster.ID, Bind: d.o.ClusterBind, Advertise: d.o.Advertise, Port: d.o.GossipPort, Keys: keys,
		Known: func(id string) bool { _, ok := d.node.State().Hosts.Get(id); return ok }, Peers: d.gossipPeers, Log: d.log, Reg: d.reg,
	})
	if err != nil {
		return err
	}
	d.gossip.Store(g)
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	var use <-chan time.Time // when the newest key encrypts
	for {
		changed := d.node.Watch()
		if now := d.node.State(); now.Cluster.GossipKeys != s.Cluster.GossipKeys {
			s = now
			use = time.After(gossipSpread)
			d.setGossip(g, s, true)
		}
		select {
		case <-use:
			use = nil
			d.setGossip(g, s, false)
		case <-changed:
		case <-ctx.Done():
			if err := <-done; err != nil {
				return err
			}
			return g.Close()
		}
	}
}

// gossipSpread is how long a new key is understood before it is used: hosts
// that have the entry later would take those who use it at once for dead.
const gossipSpread = 3 * time.Second

// setGossip takes the keys of s; with wait the one before the newest goes on
// to encrypt.
func (d *daemon) setGossip(g *gossip.Gossip, s *fsm.State, wait bool) {
	keys, err := gossipKeys(s)
	if err == nil {
		if wait && len(keys) > 1 {
			keys[0], keys[1] = keys[1], keys[0]
		}
		err = g.SetKeys(keys)
	}
	if err != nil {
		d.log.Warn("gossip cannot take its new key", "err", err)
		return
	}
	d.log.Info("gossip has another key", "in use", !wait)
}

func gossipKeys(s *fsm.State) (keys [][]byte, err error) {
	for _, text := range s.Cluster.GossipKeys {
		if text == "" {
			continue
		}
		k, err := hex.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("gossip key of the log: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// gossipPeers are the other members' gossip ports by id.
func (d *daemon) gossipPeers() map[string]string {
	out := map[string]string{}
	for id, h := range d.node.State().Hosts.All {
		if h.Gossip != "" && h.ID != d.node.ID() {
			out[id] = h.Gossip
		}
	}
	return out
}

// seen is what gossip sees, nil without it.
func (d *daemon) seen() map[string]gossip.Seen {
	if g := d.gossip.Load(); g != nil {
		return g.Members()
	}
	return nil
}

// keyGossip is a leader's duty: it makes the first key, once.
func (d *daemon) keyGossip(ctx context.Context) error {
	if _, err := d.node.Wait(ctx, func(s *fsm.State) bool { return s.Cluster.ID != "" }); err != nil || d.node.State().Cluster.GossipKeys[0] != "" {
		return nil //nolint:nilerr // the daemon ends
	}
	key := make([]byte, 32)
	if _, err := io.ReadFull(rand.Reader, key); err != nil {
		return fmt.Errorf("gossip key: %w", err)
	}
	if _, err := d.node.Propose(ctx, "cluster", fsm.RotateGossip{Key: key}); err != nil && ctx.Err() == nil {
		return fmt.Errorf("gossip key: %w", err)
	}
	return nil
}

// lookEvery is how often the leader looks who is alive.
const lookEvery = 100 * time.Millisecond

// markHosts is a leader's duty: it says in the log who is lost and who is back.
func (d *daemon) markHosts(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	w := watched{me: d.node.ID(), fence: d.o.FenceAfter, lost: map[fsm.HostID]time.Time{}, gone: map[fsm.HostID]time.Time{}}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		w.since, w.heard = d.node.Contacts()
		w.now, w.seen = time.Now(), d.seen()
		if cmds := w.judge(d.node.State()); len(cmds) > 0 {
			for _, cmd := range cmds {
				d.log.Warn("host", "host", string(cmd.Host), "state", string(cmd.State), "why", cmd.Why)
			}
			proposeAll(ctx, d.node, "cluster", asCommands(cmds), d.log)
		}
	}
}

func asCommands(cmds []fsm.MarkHost) (out []fsm.Command) {
	for _, c := range cmds {
		out = append(out, c)
	}
	return out
}

// fenceOf is when a host that is cut off now has surely stopped its jails.
func (d *daemon) fenceOf(id fsm.HostID) fsm.Time {
	if h, ok := d.node.State().Hosts.Get(string(id)); ok && h.State == fsm.HostLost {
		return h.FencedAt
	}
	return fsm.TimeOf(time.Now().Add(d.o.FenceAfter + stopLimit))
}
