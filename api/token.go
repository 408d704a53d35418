package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// The life of a token that says nothing of it, and the longest.
const (
	tokenLife    = time.Hour
	maxTokenLife = 365 * 24 * time.Hour
)

// NewToken makes a join token for the cluster of s: its text, which holds the
// secret, its id and the hash of the secret.
type NewToken func(s *fsm.State) (text, id string, hash []byte, err error)

func (s *Server) createToken(r *request) error {
	var in TokenRequest
	if err := r.decode(&in); err != nil {
		return err
	}
	ttl := tokenLife
	if in.TTL != "" {
		var err error
		if ttl, err = time.ParseDuration(in.TTL); err != nil || ttl < time.Second || ttl > maxTokenLife {
			return fail("invalid", "token", "--ttl 1h", "ttl %q: want 1s to 8760h", in.TTL)
		}
	}
	if s.cfg.NewToken == nil {
		return fail("unavailable", "token", "start rexcarcer without -dev, or with -cluster-port", "this cluster has no cluster port: nobody can join")
	}
	uses := 1
	if in.Uses != nil {
		uses = *in.Uses
	}
	text, id, hash, err := s.cfg.NewToken(s.cfg.Log.State())
	if err != nil {
		return err
	}
	expires := time.Now().Add(ttl)
	done, err := s.cfg.Log.Propose(r.Context(), r.by, fsm.CreateToken{ID: id, Hash: hash, Role: in.Role, Uses: uses, Expires: fsm.TimeOf(expires)})
	if err != nil {
		return err
	}
	return r.reply(done.Index, TokenMade{ID: id, Token: text, Role: in.Role, Uses: uses, Expires: expires.UTC().Truncate(time.Second)})
}

func (s *Server) listTokens(r *request) error {
	st, err := s.current(r)
	if err != nil {
		return err
	}
	now := max(st.Now, fsm.TimeOf(time.Now()))
	rows := []TokenRow{}
	for id, k := range st.Tokens.All {
		row := TokenRow{ID: id, Role: k.Role, Uses: k.Max, State: "usable", Expires: k.Expires.Time(), CreatedAt: k.CreatedAt.Time(), CreatedBy: k.CreatedBy, Hosts: []string{}}
		if ended := k.Usable(now); ended != "" {
			row.State = ended
		}
		for _, h := range k.Uses {
			row.Hosts = append(row.Hosts, hostName(st, h))
		}
		rows = append(rows, row)
	}
	return r.reply(st.Index, rows)
}

// hostName is the name of a member, its id if it is gone.
func hostName(st *fsm.State, id fsm.HostID) string {
	if h, ok := st.Hosts.Get(string(id)); ok {
		return h.Name
	}
	if d, ok := st.Denied.Get(string(id)); ok {
		return d.Name
	}
	return string(id)
}

func (s *Server) revokeToken(r *request) error {
	return s.propose(r, fsm.RevokeToken{ID: r.PathValue("id")})
}

// hostNamed is the host of the route's {name}: a name or an id. A lost host's
// name may have been taken by another: who is not lost comes first.
func hostNamed(r *request, st *fsm.State) (*fsm.Host, error) {
	return findHost(st, r.PathValue("name"))
}

func findHost(st *fsm.State, name string) (*fsm.Host, error) {
	var found *fsm.Host
	for _, h := range st.Hosts.All {
		if string(h.ID) == name {
			return h, nil
		}
		if h.Name == name && (found == nil || found.State == fsm.HostLost) {
			found = h
		}
	}
	if found == nil {
		return nil, notFound("host", name)
	}
	return found, nil
}

func (s *Server) undrainHost(r *request) error {
	return s.markHost(r, fsm.HostAlive, fsm.HostDraining, nil)
}

// markHost moves a host from one state to another, and nothing else.
func (s *Server) markHost(r *request, to, from fsm.HostState, pace *fsm.Drain) error {
	h, err := hostNamed(r, s.cfg.Log.State())
	if err != nil {
		return err
	}
	if h.State != from && h.State != to {
		return fail("conflict", "host "+h.Name, "rexctl host show "+h.Name, "it is %s, not %s", h.State, from)
	}
	return s.propose(r, fsm.MarkHost{Host: h.ID, State: to, Why: "by " + r.by, Drain: pace})
}

func (s *Server) labelHost(r *request) error {
	var in HostLabels
	if err := r.decode(&in); err != nil {
		return err
	}
	h, err := hostNamed(r, s.cfg.Log.State())
	if err != nil {
		return err
	}
	return s.propose(r, fsm.LabelHost{Host: h.ID, Set: in.Set, Remove: in.Remove})
}

func (s *Server) rekeyHost(r *request) error {
	h, err := hostNamed(r, s.cfg.Log.State())
	if err != nil {
		return err
	}
	return s.propose(r, fsm.RekeyHost{Host: h.ID})
}

func (s *Server) removeHost(r *request) error {
	h, err := hostNamed(r, s.cfg.Log.State())
	if err != nil {
		return err
	}
	force, err := flagParam(r.Request, "force")
	if err != nil {
		return err
	}
	cmd := fsm.RemoveHost{Host: h.ID, Force: force, Why: "by " + r.by}
	if s.cfg.FenceOf != nil {
		cmd.Fence = s.cfg.FenceOf(h.ID)
	}
	return s.propose(r, cmd)
}

// reading makes the State that a GET answers from as new as its query asks:
// ?consistent holds all that was acknowledged before the request. Else it is
// what this host has, and the headers say how old that may be; ?stale says
// that the asker knows.
func (s *Server) reading(r *request) error {
	if r.Method != http.MethodGet || s.cfg.Reads == nil {
		return nil
	}
	if r.URL.Query().Has("consistent") {
		if err := s.cfg.Reads.Consistent(r.Context()); err != nil {
			return err
		}
	}
	contact, alone := s.cfg.Reads.LastContact()
	h := r.w.Header()
	st := s.cfg.Log.State()
	if own, ok := st.Hosts.Get(string(s.cfg.Host.ID())); ok {
		h.Set(headerHost, own.Name)
	}
	h.Set("Rex-Index", strconv.FormatUint(st.Index, 10)) // streams have it too
	switch {
	case alone:
		h.Set(headerContact, "0")
	case contact.IsZero():
		h.Set(headerContact, "never")
	default:
		h.Set(headerContact, time.Since(contact).Round(time.Millisecond).String())
	}
	return nil
}

// headerContact says how long ago this host heard a leader: "0" where it
// leads itself, "never", or a duration.
const headerContact = "Rex-Last-Contact"

// headerHost is the name of the host that answered.
const headerHost = "Rex-Host"
