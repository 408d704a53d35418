package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Members is a leader's duty: raft's configuration follows the State. Hosts
// that were admitted are taken in as non-voters, those that were removed go,
// a changed address is followed, and votes are given and taken.
func (n *Node) Members(ctx context.Context) error {
	pilot := autopilot.New(n.raft, (*delegate)(n), autopilot.WithPromoter(promoter{n.cfg.Clock}),
		autopilot.WithLogger(hclogTo(n.cfg.Log)), autopilot.WithUpdateInterval(time.Second), autopilot.WithReconcileInterval(time.Second))
	pilot.Start(ctx)
	defer func() { <-pilot.Stop() }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		changed := n.Watch()
		if err := n.follow(); err != nil && ctx.Err() == nil {
			n.cfg.Log.Info("members of the raft group", "err", err)
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// follow makes the next change of raft's configuration, if there is one.
func (n *Node) follow() error {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return err
	}
	n.learn(f.Configuration())
	s := n.State()
	if _, out := s.Denied.Get(string(n.id.Host)); out {
		return n.raft.LeadershipTransfer().Error() // this host was removed: let another lead, and remove it
	}
	in := map[fsm.HostID]raft.Server{}
	for _, member := range f.Configuration().Servers {
		id := fsm.HostID(member.ID)
		in[id] = member
		if _, out := s.Denied.Get(string(id)); out {
			n.cfg.Log.Info("a removed host leaves the raft group", "host", string(id))
			return n.raft.RemoveServer(member.ID, f.Index(), confTime).Error()
		}
	}
	if me, ok := in[n.id.Host]; ok && string(me.Address) != n.cfg.Advertise {
		return n.take(n.id.Host, n.cfg.Advertise, f.Index())
	}
	for key, h := range s.Hosts.All {
		id := fsm.HostID(key)
		addr, ok := n.PeerAddr(id)
		if !ok || id == n.id.Host {
			continue
		}
		if member, known := in[id]; known && string(member.Address) == addr {
			continue
		}
		if h.State == fsm.HostLost {
			continue // it matters when it is back
		}
		return n.take(id, addr, f.Index())
	}
	return nil
}

// confTime bounds the wait for a change of raft's configuration to be queued.
const confTime = 5 * time.Second

// take adds a non-voter; of a member that is there it changes the address alone.
func (n *Node) take(id fsm.HostID, addr string, prev uint64) error {
	n.cfg.Log.Info("raft group: member", "host", string(id), "addr", addr)
	if err := n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), prev, confTime).Error(); err != nil {
		return fmt.Errorf("take host %s at %s into the raft group: %w", id, addr, err)
	}
	return nil
}

// delegate is what autopilot asks of a Node.
type delegate Node

var _ autopilot.ApplicationIntegration = (*delegate)(nil)

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (d *delegate) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		LastContactThreshold: 4 * d.cfg.PingEvery, MaxTrailingLogs: 1024, ServerStabilizationTime: d.cfg.Stabilize,
	}
}

// NotifyState implements autopilot.ApplicationIntegration.
func (d *delegate) NotifyState(s *autopilot.State) {
	d.metrics.voters.Set(float64(len(s.Voters)))
	d.metrics.tolerance.Set(float64(s.FailureTolerance))
}

// FetchServerStats implements autopilot.ApplicationIntegration: members say
// how far they are in their pings.
func (d *delegate) FetchServerStats(_ context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	n := (*Node)(d)
	now := n.cfg.Clock()
	_, heard := n.Contacts()
	out := map[raft.ServerID]*autopilot.ServerStats{}
	for id := range servers {
		c, ok := heard[fsm.HostID(id)]
		if fsm.HostID(id) == n.id.Host {
			c, ok = Contact{At: now, Ping: n.self()}, true
		}
		if ok {
			out[id] = &autopilot.ServerStats{LastContact: now.Sub(c.At), LastTerm: c.LastTerm, LastIndex: c.LastIndex}
		}
	}
	return out
}

// KnownServers implements autopilot.ApplicationIntegration.
func (d *delegate) KnownServers() map[raft.ServerID]*autopilot.Server {
	n := (*Node)(d)
	out := map[raft.ServerID]*autopilot.Server{}
	for key, h := range n.State().Hosts.All {
		id := raft.ServerID(key)
		addr, _ := n.PeerAddr(h.ID)
		status := autopilot.NodeAlive
		if h.State == fsm.HostLost {
			status = autopilot.NodeFailed
		}
		out[id] = &autopilot.Server{
			ID: id, Name: h.Name, Address: raft.ServerAddress(addr), NodeStatus: status, Version: h.Version,
			Meta: map[string]string{metaRole: h.Role}, RaftVersion: 3, IsLeader: h.ID == n.id.Host, NodeType: nodeType(h.Role),
		}
	}
	if me := raft.ServerID(n.id.Host); out[me] == nil { // it has not registered yet
		out[me] = &autopilot.Server{ID: me, Address: raft.ServerAddress(n.cfg.Advertise), NodeStatus: autopilot.NodeAlive,
			Meta: map[string]string{metaRole: fsm.RoleServer}, RaftVersion: 3, IsLeader: true, NodeType: autopilot.NodeVoter}
	}
	return out
}

// RemoveFailedServer implements autopilot.ApplicationIntegration; the promoter
// never asks for it.
func (d *delegate) RemoveFailedServer(*autopilot.Server) {}

// Voters are the members that vote, by the newest configuration that this
// host knows.
func (n *Node) Voters() map[fsm.HostID]bool {
	n.members.mu.Lock()
	defer n.members.mu.Unlock()
	out := map[fsm.HostID]bool{}
	for _, m := range n.members.config.Servers {
		if m.Suffrage == raft.Voter {
			out[fsm.HostID(m.ID)] = true
		}
	}
	return out
}
