package cluster

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// members is what this host knows of the others beside the State. The zero
// time is never.
type members struct {
	self     fsm.HostID // immutable
	mu       sync.Mutex
	since    time.Time                // guarded by mu; begin of the term that this host leads
	heard    map[fsm.HostID]Contact   // guarded by mu; pings to this host
	book     map[fsm.HostID]string    // guarded by mu; addresses from before the State was there
	contact  time.Time                // guarded by mu; see LastContact
	answers  []answer                 // guarded by mu; of leaders, whose index is not applied here yet; oldest first
	leader   fsm.HostID               // guarded by mu; who led by the last answer
	hintAt   time.Time                // guarded by mu; when that was said
	applied  map[fsm.HostID]uint64    // immutable, replaced under mu; how far the members are, as the leader told
	answered map[fsm.HostID]time.Time // guarded by mu; who answered our pings
	config   raft.Configuration       // guarded by mu; newest that was looked at
}

// Contact is the last that was heard from a member.
type Contact struct {
	At time.Time
	Ping
}

func newMembers(self fsm.HostID, book map[fsm.HostID]string) members {
	return members{self: self, heard: map[fsm.HostID]Contact{}, book: book, answered: map[fsm.HostID]time.Time{}}
}

// begin forgets what was heard before this host led: pings went elsewhere.
func (m *members) begin(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since = now
	clear(m.heard)
}

// addr is where a member has just said that it is, and where it was by older
// word. What was heard longer ago, when this host led perhaps, is worth less
// than the State: the member may have moved since, and told another leader.
func (m *members) addr(id fsm.HostID, now time.Time) (heard, known string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.heard[id]; ok && now.Sub(c.At) < hintLife {
		heard = c.Peer
	}
	return heard, m.book[id]
}

const hintLife = 5 * time.Second

func (m *members) hint(now time.Time) fsm.HostID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.hintAt) > hintLife {
		return ""
	}
	return m.leader
}

// voters counts those of the newest known configuration, and who of them
// answered lately.
func (m *members) voters() (all, seen int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.config.Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		all++
		if at, ok := m.answered[fsm.HostID(s.ID)]; string(s.ID) == string(m.self) || ok && time.Since(at) < hintLife {
			seen++
		}
	}
	return all, seen
}

// toldApplied is up to how many members a leader tells each of them how far
// the others are: beyond that the answers would grow with the square.
const toldApplied = 64

// Heard takes a member's ping.
func (n *Node) Heard(from fsm.HostID, p Ping) Pong {
	leads := n.raft.State() == raft.Leader
	index := n.State().Index
	var applied map[fsm.HostID]uint64
	if leads {
		n.members.mu.Lock()
		n.members.heard[from] = Contact{At: n.cfg.Clock(), Ping: p}
		if len(n.members.heard) < toldApplied {
			applied = map[fsm.HostID]uint64{n.id.Host: index}
			for id, c := range n.members.heard {
				applied[id] = c.Applied
			}
		}
		n.members.mu.Unlock()
	}
	leader := n.leader()
	addr, _ := n.PeerAddr(leader)
	return Pong{Leader: leader, Addr: addr, Leading: leads, Index: index, Now: n.cfg.Clock().UnixNano(), Applied: applied}
}

// Contacts are the newest pings to this host by sender, while it leads, and
// since when it leads. A member without one was not heard since then.
func (n *Node) Contacts() (since time.Time, heard map[fsm.HostID]Contact) {
	n.members.mu.Lock()
	defer n.members.mu.Unlock()
	return n.members.since, maps.Clone(n.members.heard)
}

// Applied is how far each member is, as the leader has heard or told; those
// that it does not know are missing.
func (n *Node) Applied() map[fsm.HostID]uint64 {
	n.members.mu.Lock()
	defer n.members.mu.Unlock()
	out := maps.Clone(n.members.applied)
	if out == nil || n.raft.State() == raft.Leader {
		out = map[fsm.HostID]uint64{}
	}
	for id, c := range n.members.heard {
		out[id] = c.Applied
	}
	out[n.id.Host] = n.State().Index
	return out
}

// answer of a leader to a ping: by then the log had got to index.
type answer struct {
	sent  time.Time
	index uint64
}

// LastContact is when this host sent the last ping that was then answered by a
// leader all of whose log at that time is applied here. A host that hears a
// leader and lags behind it does not know whether its Runs are still its own.
//
// A leader can count on it: a member whose ping it has heard at T, or that has
// not applied what was committed at T, has a LastContact of T at most.
func (n *Node) LastContact() time.Time {
	return n.members.lastContact(n.State().Index)
}

func (m *members) lastContact(applied uint64) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.answers) > 0 && m.answers[0].index <= applied {
		m.contact = m.answers[0].sent
		m.answers = m.answers[1:]
	}
	return m.contact
}

// ping keeps telling the leader that this host is there, until ctx ends.
func (n *Node) ping(ctx context.Context) {
	tick := time.NewTicker(n.cfg.PingEvery)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		n.pingOnce(ctx, turn)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) pingOnce(ctx context.Context, turn int) {
	begin := n.cfg.Clock()
	if f := n.raft.GetConfiguration(); f.Error() == nil {
		n.learn(f.Configuration())
	}
	if n.raft.State() == raft.Leader {
		if await(ctx, n.raft.VerifyLeader()) == nil {
			n.members.met(begin, n.id.Host, Pong{Leader: n.id.Host, Leading: true})
			n.skew.lead()
		}
		return
	}
	if n.cfg.Peers == nil {
		return
	}
	to := n.leader()
	if to == "" {
		if to = n.someone(turn); to == "" {
			return
		}
	}
	try, cancel := context.WithTimeout(ctx, max(2*n.cfg.PingEvery, time.Second))
	defer cancel()
	pong, err := n.cfg.Peers.Ping(try, to, n.self())
	if err != nil {
		n.cfg.Log.Debug("ping", "to", string(to), "err", err)
		n.members.missed(to)
		return
	}
	n.members.met(begin, to, pong)
	n.skew.heard(begin, n.cfg.Clock(), to, pong)
}

func (n *Node) self() Ping {
	term, _ := strconv.ParseUint(n.raft.Stats()["last_log_term"], 10, 64) // raft writes a number
	return Ping{Peer: n.cfg.Advertise, Applied: n.State().Index, LastIndex: n.raft.LastIndex(), LastTerm: term}
}

func (m *members) met(begin time.Time, who fsm.HostID, p Pong) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answered[who] = begin
	if p.Leading {
		m.applied = p.Applied
		// Of those that wait the oldest count: the first of them is applied first.
		if m.answers = append(m.answers, answer{begin, p.Index}); len(m.answers) > keptAnswers {
			m.answers = append(m.answers[:keptAnswers-1], m.answers[keptAnswers])
		}
	}
	if p.Leader != "" {
		m.leader, m.hintAt = p.Leader, begin
		if p.Addr != "" {
			m.book[p.Leader] = p.Addr
		}
	}
}

// keptAnswers bounds what a host that lags for long remembers.
const keptAnswers = 64

func (m *members) missed(who fsm.HostID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader == who {
		m.leader = ""
	}
}

// someone is a member to ask who leads: another one each turn.
func (n *Node) someone(turn int) fsm.HostID {
	ids := map[fsm.HostID]bool{}
	for id := range n.State().Hosts.All {
		ids[fsm.HostID(id)] = true
	}
	n.members.mu.Lock()
	for id := range n.members.book {
		ids[id] = true
	}
	n.members.mu.Unlock()
	delete(ids, n.id.Host)
	if len(ids) == 0 {
		return ""
	}
	list := slices.Sorted(maps.Keys(ids))
	return list[turn%len(list)]
}
