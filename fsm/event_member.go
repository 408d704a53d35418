package fsm

import "fmt"

// The events about members.
type (
	// TokenCreated: hosts may join by it.
	TokenCreated struct {
		Token *Token `json:"token"`
	}
	// TokenRevoked: nobody may join by it any more.
	TokenRevoked struct {
		Token *Token `json:"token"`
	}
	// TokenRemoved: it ended a day ago and is forgotten.
	TokenRemoved struct {
		ID string `json:"id"`
	}
	// TokenUsed: a host has joined by it.
	TokenUsed struct {
		Token *Token `json:"token"`
		Host  HostID `json:"host"`
		Name  string `json:"name"`
	}
	// JoinRefused: somebody showed the token and was sent away.
	JoinRefused struct {
		Token  string `json:"token"`
		From   string `json:"from"`
		Reason string `json:"reason"`
	}
	// HostAdmitted: a host may have a certificate; it registers when it runs.
	HostAdmitted struct {
		Host  *Host  `json:"host"`
		Token string `json:"token"`
	}
	// HostLabeled: its labels are others.
	HostLabeled struct {
		Host *Host `json:"host"`
	}
	// HostRemoved: its id and certificate are refused from now on.
	HostRemoved struct {
		Denied *Denied `json:"denied"`
	}
	// GossipRotated: another key encrypts gossip. Keys do not leave by events.
	GossipRotated struct {
		ID   string    `json:"id"` // of the newest key: 8 hex digits of its SHA-256
		keys [3]string // as Cluster.GossipKeys
	}
	// GenerationRaised: the survivor of a lost quorum goes on alone.
	GenerationRaised struct {
		ID         string `json:"id"` // of the cluster
		Generation uint64 `json:"generation"`
		Reason     string `json:"reason,omitempty"`
	}
)

// Kind implements Event for each of them: its name for ever.
func (TokenCreated) Kind() string     { return "token_created" }
func (TokenRevoked) Kind() string     { return "token_revoked" }
func (TokenRemoved) Kind() string     { return "token_removed" }
func (TokenUsed) Kind() string        { return "token_used" }
func (JoinRefused) Kind() string      { return "join_refused" }
func (HostAdmitted) Kind() string     { return "host_admitted" }
func (HostLabeled) Kind() string      { return "host_labeled" }
func (HostRemoved) Kind() string      { return "host_removed" }
func (GossipRotated) Kind() string    { return "gossip_rotated" }
func (GenerationRaised) Kind() string { return "generation_raised" }

// Object implements Event: noun, blank, name.
func (e TokenCreated) Object() string     { return "token " + e.Token.ID }
func (e TokenRevoked) Object() string     { return "token " + e.Token.ID }
func (e TokenRemoved) Object() string     { return "token " + e.ID }
func (e TokenUsed) Object() string        { return "token " + e.Token.ID }
func (e JoinRefused) Object() string      { return "token " + e.Token }
func (e HostAdmitted) Object() string     { return "host " + e.Host.Name }
func (e HostLabeled) Object() string      { return "host " + e.Host.Name }
func (e HostRemoved) Object() string      { return "host " + e.Denied.Name }
func (e GossipRotated) Object() string    { return "gossip key " + e.ID }
func (e GenerationRaised) Object() string { return "cluster " + e.ID }

// Why implements Event: the reason for people.
func (TokenRevoked) Why() string   { return "" }
func (TokenRemoved) Why() string   { return "it ended a day ago" }
func (GossipRotated) Why() string  { return "" }
func (e TokenUsed) Why() string    { return fmt.Sprintf("by host %s (%s)", e.Name, e.Host) }
func (e JoinRefused) Why() string  { return "from " + e.From + ": " + e.Reason }
func (e HostAdmitted) Why() string { return "as " + e.Host.Role + " by token " + e.Token }
func (e HostLabeled) Why() string  { return fmt.Sprintf("%d labels", len(e.Host.Labels)) }
func (e HostRemoved) Why() string  { return e.Denied.Why }
func (e GenerationRaised) Why() string {
	return fmt.Sprintf("to %d: %s", e.Generation, e.Reason)
}

// Why says what it is good for.
func (e TokenCreated) Why() string {
	uses := "any number of hosts"
	if e.Token.Max > 0 {
		uses = fmt.Sprintf("%d hosts", e.Token.Max)
	}
	return fmt.Sprintf("role %s, %s, until %s", e.Token.Role, uses, e.Token.Expires.Time().Format("2006-01-02T15:04:05Z"))
}

func (e TokenCreated) evolve(t *txn) { t.tokens.put(e.Token.ID, e.Token) }
func (e TokenRevoked) evolve(t *txn) { t.tokens.put(e.Token.ID, e.Token) }
func (e TokenRemoved) evolve(t *txn) { t.tokens.del(e.ID) }
func (e TokenUsed) evolve(t *txn)    { t.tokens.put(e.Token.ID, e.Token) }
func (JoinRefused) evolve(*txn)      {}

func (e HostAdmitted) evolve(t *txn) { t.hosts.put(string(e.Host.ID), e.Host) }

func (e HostLabeled) evolve(t *txn) {
	t.hosts.put(string(e.Host.ID), e.Host)
	t.planMoved()
}

func (e HostRemoved) evolve(t *txn) {
	t.hosts.del(string(e.Denied.Host))
	t.denied.put(string(e.Denied.Host), e.Denied)
	t.planMoved()
}

func (e GossipRotated) evolve(t *txn)    { t.s.Cluster.GossipKeys = e.keys }
func (e GenerationRaised) evolve(t *txn) { t.s.Cluster.Generation = e.Generation }
