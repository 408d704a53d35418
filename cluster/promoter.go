package cluster

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// promoter chooses who votes: five or three of the servers, as many as are
// well, the rest hold the State and do not vote. Two servers are worth one:
// with two voters the loss of either would stop the cluster.
type promoter struct{ now func() time.Time }

var _ autopilot.Promoter = promoter{}

// metaRole is the key of a server's role in autopilot's Server.Meta.
const metaRole = "role"

// GetServerExt implements autopilot.Promoter.
func (promoter) GetServerExt(*autopilot.Config, *autopilot.ServerState) any { return nil }

// GetStateExt implements autopilot.Promoter.
func (promoter) GetStateExt(*autopilot.Config, *autopilot.State) any { return nil }

// GetNodeTypes implements autopilot.Promoter.
func (promoter) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := map[raft.ServerID]autopilot.NodeType{}
	for id, srv := range s.Servers {
		types[id] = nodeType(srv.Server.Meta[metaRole])
	}
	return types
}

func nodeType(role string) autopilot.NodeType {
	if role == fsm.RoleServer {
		return autopilot.NodeVoter
	}
	return "non-voter"
}

// IsPotentialVoter implements autopilot.Promoter.
func (promoter) IsPotentialVoter(t autopilot.NodeType) bool { return t == autopilot.NodeVoter }

// FilterFailedServerRemovals implements autopilot.Promoter: whoever is lost
// stays and may come back; only who was removed goes, and that the Node does.
func (promoter) FilterFailedServerRemovals(*autopilot.Config, *autopilot.State, *autopilot.FailedServers) *autopilot.FailedServers {
	return &autopilot.FailedServers{}
}

// CalculatePromotionsAndDemotions implements autopilot.Promoter.
func (p promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	var voters, dead, ready []raft.ServerID
	stable := s.ServerStabilizationTime(c)
	for id, srv := range s.Servers {
		switch lost := srv.Server.NodeStatus != autopilot.NodeAlive; {
		case srv.HasVotingRights() && lost && id != s.Leader:
			dead = append(dead, id)
		case srv.HasVotingRights():
			voters = append(voters, id)
		case srv.State == autopilot.RaftNonVoter && !lost && srv.Server.Meta[metaRole] == fsm.RoleServer &&
			srv.Health.IsStable(p.now(), stable):
			ready = append(ready, id)
		}
	}
	slices.Sort(voters)
	slices.Sort(dead)
	slices.Sort(ready)
	return choose(s.Leader, voters, dead, ready)
}

// choose says who gets and who loses a vote. voters are well, dead are voters
// that are lost, ready are servers that could vote.
func choose(leader raft.ServerID, voters, dead, ready []raft.ServerID) (out autopilot.RaftChanges) {
	want := wanted(len(voters)+len(ready), len(voters))
	if n := min(want-len(voters), len(ready)); n > 0 {
		out.Promotions = ready[:n]
	}
	// A dead voter keeps its vote where the rest are too few: it may come back.
	if len(voters)+len(out.Promotions) >= 3 {
		out.Demotions = append(out.Demotions, dead...)
	}
	for i := len(voters) - 1; i >= 0 && len(voters)-excess(out.Demotions, voters) > want; i-- {
		if voters[i] != leader {
			out.Demotions = append(out.Demotions, voters[i])
		}
	}
	return out
}

// wanted is how many voters there shall be, of n servers that are well.
func wanted(n, now int) int {
	switch {
	case n >= 5:
		return 5
	case n >= 3:
		return 3
	}
	return max(now, 1)
}

// excess counts those of voters that are among demoted.
func excess(demoted, voters []raft.ServerID) (n int) {
	for _, id := range voters {
		if slices.Contains(demoted, id) {
			n++
		}
	}
	return n
}
