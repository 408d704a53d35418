package fsm

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of tokens.
const (
	maxTokens    = 1000
	maxTokenUses = 10_000
	maxTokenLife = 366 * 24 * time.Hour
	keepExpired  = 24 * time.Hour // a token that ended is listed for so long
)

// The roles of members.
const (
	RoleServer = "server" // may vote and lead
	RoleHost   = "host"   // holds the State and runs jails
)

func (c CreateToken) decide(t *txn) *Refusal {
	object := "token " + c.ID
	old, known := t.tokens.get(c.ID)
	switch {
	case !validTokenID(c.ID) || len(c.Hash) != sha256.Size:
		return refuse(CodeInvalid, "token", "the id must be 8 to 32 of a-z and 2-7, and the hash %d bytes", sha256.Size)
	case isHost(t.by):
		return refuse(CodeFenced, object, "%s cannot make tokens: only users may", t.by)
	case c.Role != RoleServer && c.Role != RoleHost:
		return refuse(CodeInvalid, object, "the role %q is neither server nor host", c.Role)
	case c.Uses < 0 || c.Uses > maxTokenUses:
		return refuse(CodeInvalid, object, "%d uses: want 0 (any number) to %d", c.Uses, maxTokenUses)
	case c.Expires <= t.s.Now || c.Expires > t.s.Now.Add(maxTokenLife):
		return refuse(CodeInvalid, object, "it must end in the future and within a year, not at %s", c.Expires.Time().Format(time.RFC3339))
	case known && slices.Equal(old.Hash, c.Hash):
		return nil
	case known:
		return refuse(CodeConflict, object, "exists already: make another")
	}
	t.dropTokens()
	if t.tokens.n >= maxTokens {
		return refuse(CodeExhausted, object, "there are %d tokens already: revoke some and wait a day", maxTokens)
	}
	t.emit(TokenCreated{&Token{ID: c.ID, Hash: c.Hash, Role: c.Role, Max: c.Uses, Expires: c.Expires, CreatedAt: t.s.Now, CreatedBy: t.by}})
	return nil
}

// dropTokens forgets those that ended a day ago. There are maxTokens at most.
func (t *txn) dropTokens() {
	var ended []string
	t.tokens.each("", func(id string, k *Token) bool {
		if t.s.Now > min(k.Expires, orNever(k.RevokedAt)).Add(keepExpired) {
			ended = append(ended, id)
		}
		return true
	})
	for _, id := range ended {
		t.emit(TokenRemoved{id})
	}
}

func orNever(at Time) Time {
	if at == 0 {
		return 1<<63 - 1 - Time(keepExpired)
	}
	return at
}

func (c RevokeToken) decide(t *txn) *Refusal {
	old, ok := t.tokens.get(c.ID)
	switch {
	case !ok:
		return refuse(CodeNotFound, "token "+c.ID, "is not known: list tokens with `rexctl token ls`")
	case isHost(t.by):
		return refuse(CodeFenced, "token "+c.ID, "%s cannot revoke tokens: only users may", t.by)
	case old.RevokedAt != 0:
		return nil
	}
	now := *old
	now.RevokedAt = t.s.Now
	t.emit(TokenRevoked{&now})
	return nil
}

// Usable says why a token admits nobody (more), "" if it does.
func (k *Token) Usable(now Time) string {
	switch {
	case k.RevokedAt != 0:
		return "it was revoked"
	case now > k.Expires:
		return "it has expired"
	case k.Max > 0 && len(k.Uses) >= k.Max:
		return "it is used up"
	}
	return ""
}

func (c AdmitHost) decide(t *txn) *Refusal {
	object := "host " + c.Name
	token, ok := t.tokens.get(c.Token)
	if !ok {
		return refuse(CodeFenced, object, "token %.32s is not known", c.Token)
	}
	if r := c.check(object); r != nil {
		return r
	}
	old, known := t.hosts.get(string(c.Host))
	if known && old.Key == c.Key && old.Role == c.Role && slices.Contains(token.Uses, c.Host) {
		return nil // its answer was lost
	}
	switch why := token.Usable(t.s.Now); {
	case why != "":
		return refuse(CodeFenced, object, "token %s: %s", c.Token, why)
	case token.Role != c.Role:
		return refuse(CodeFenced, object, "token %s is for the role %s, not for %s", c.Token, token.Role, c.Role)
	case known:
		return refuse(CodeConflict, object, "the id %s belongs to a member already: a host that was wiped joins as a new one", c.Host)
	}
	if _, out := t.denied.get(string(c.Host)); out {
		return refuse(CodeFenced, object, "the id %s was removed from this cluster: wipe the data directory and join as a new host", c.Host)
	}
	if twin := t.hostNamed(c.Name); twin != nil {
		return refuse(CodeConflict, object, "the name belongs to host %s, which is %s: give this host another name, or remove the old one first", twin.ID, twin.State)
	}
	now := *token
	now.Uses = append(slices.Clone(token.Uses), c.Host)
	t.emit(TokenUsed{&now, c.Host, c.Name})
	t.emit(HostAdmitted{&Host{ID: c.Host, Name: c.Name, Role: c.Role, State: HostJoining, Peer: c.Peer, Key: c.Key, SeenAt: t.s.Now}, c.Token})
	return nil
}

func (c AdmitHost) check(object string) *Refusal {
	if !validHostID(string(c.Host)) || !validHostName(c.Name) {
		return refuse(CodeInvalid, object, "the id %q must be 1 to 64 of letters, digits, '.', '_' and '-', and the name a host name", c.Host)
	}
	if !validPeer(c.Peer) {
		return refuse(CodeInvalid, object, "its address %q is not HOST:PORT", c.Peer)
	}
	if len(c.Key) != 2*sha256.Size {
		return refuse(CodeInvalid, object, "its key has %d characters, want %d", len(c.Key), 2*sha256.Size)
	}
	return nil
}

func (c ReportJoin) decide(t *txn) *Refusal {
	if len(c.From) > 128 || len(c.Why) > maxReason {
		return refuse(CodeInvalid, "token "+c.Token, "the report is too long")
	}
	if _, ok := t.tokens.get(c.Token); !ok {
		return refuse(CodeNotFound, "token "+c.Token, "is not known")
	}
	t.emit(JoinRefused{c.Token, c.From, c.Why})
	return nil
}

func validTokenID(id string) bool {
	return len(id) >= 8 && len(id) <= 32 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func validHostName(name string) bool {
	return len(name) > 0 && len(name) <= 253 && !strings.ContainsAny(name, "/ \n")
}

// validPeer: HOST:PORT, where HOST is an address or a name.
func validPeer(peer string) bool {
	i := strings.LastIndexByte(peer, ':')
	if i < 1 || len(peer) > 300 || strings.ContainsAny(peer, "/@ \n") {
		return false
	}
	port, err := strconv.ParseUint(peer[i+1:], 10, 16)
	return err == nil && port > 0
}

// isHost tells whether a member itself speaks, and no user of it.
func isHost(by string) bool { return strings.HasPrefix(by, "host/") }
