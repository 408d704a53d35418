package api

import (
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// trustRoutes are about what is trusted, and about the State as a whole.
func trustRoutes() []route {
	return []route{
		{method: "GET", pattern: "/v1/ca", access: forRead, summary: "The CAs that are trusted, and what the host that is asked has of them", out: CAView{}, handle: (*Server).showCAs},
		{method: "POST", pattern: "/v1/ca/rotate", access: forWrite, summary: "Make another CA, which signs once all servers have its key", in: CARotation{}, out: Applied{}, handle: (*Server).rotateCA},
		{method: "POST", pattern: "/v1/ca/csr", access: forWrite, summary: "A request for the CA's certificate, for the operator's own CA", in: CARequest{}, out: CARequest{}, handle: (*Server).requestCA},
		{method: "POST", pattern: "/v1/ca/import", access: forWrite, summary: "Put the CA under the operator's own", in: CASigned{}, out: Applied{}, handle: (*Server).importCA},
		{method: "DELETE", pattern: "/v1/ca/{id}", access: forWrite, summary: "Trust a CA that does not sign no longer", out: Applied{}, handle: (*Server).retireCA},
		{method: "POST", pattern: "/v1/ca/seal", access: forWrite, summary: "Encrypt the CA's keys on the host that is asked, or write them in the clear with an empty passphrase", in: CAPassphrase{}, out: CAView{}, handle: (*Server).sealCA},
		{method: "POST", pattern: "/v1/ca/unlock", access: forWrite, summary: "Open the CA's sealed keys on the host that is asked", in: CAPassphrase{}, out: CAView{}, handle: (*Server).unlockCA},
		{method: "GET", pattern: "/v1/revoked", access: forRead, summary: "Certificates that every daemon refuses", out: []RevokedRow{}, handle: (*Server).listRevoked},
		{method: "POST", pattern: "/v1/revoked", access: forWrite, summary: "Have a certificate refused: by serial, or those of a jail, host or user", in: Revocation{}, out: Applied{}, handle: (*Server).revokeCert},
		{method: "POST", pattern: "/v1/gossip/rotate", access: forWrite, summary: "Encrypt gossip under another key", out: Applied{}, handle: (*Server).rotateGossip},
		{method: "GET", pattern: "/v1/snapshot", access: forEnter, summary: "The State as a file, see docs/reference/snapshot.md", stream: true, media: snapshotMedia, handle: (*Server).saveSnapshot},
		{
			method: "PUT", pattern: "/v1/snapshot", access: forWrite, summary: "Make what a saved State declares the truth", stream: true, limit: maxSnapshot,
			query: []param{{"foreign", "boolean", "it may be another cluster's"}}, out: Restored{}, handle: (*Server).restoreSnapshot,
		},
	}
}

func (s *Server) trust() (Trust, error) {
	if s.cfg.Trust == nil {
		return nil, fail("unavailable", "ca", "", "this daemon has no CA")
	}
	return s.cfg.Trust, nil
}

func (s *Server) showCAs(r *request) error {
	t, err := s.trust()
	if err != nil {
		return err
	}
	st := s.cfg.Log.State()
	view, err := t.CAs(st)
	if err != nil {
		return err
	}
	return r.reply(st.Index, view)
}

func (s *Server) rotateCA(r *request) error {
	t, err := s.trust()
	if err != nil {
		return err
	}
	var in CARotation
	if err := r.decode(&in); err != nil {
		return err
	}
	done, err := t.RotateCA(r.Context(), r.by, in)
	return r.applied(done, err)
}

// applied answers with what an entry has changed.
func (r *request) applied(done fsm.Applied, err error) error {
	if err != nil {
		return err
	}
	out := Applied{Index: done.Index, Events: []Event{}}
	for i, h := range done.Events {
		out.Events = append(out.Events, eventOf(h, i+1))
	}
	return r.reply(done.Index, out)
}

func (s *Server) requestCA(r *request) error {
	t, err := s.trust()
	if err != nil {
		return err
	}
	var in CARequest
	if err := r.decode(&in); err != nil {
		return err
	}
	csr, err := t.RequestCA(in.ID)
	if err != nil {
		return err
	}
	return r.reply(s.cfg.Log.State().Index, CARequest{ID: in.ID, CSR: string(csr)})
}

func (s *Server) importCA(r *request) error {
	t, err := s.trust()
	if err != nil {
		return err
	}
	var in CASigned
	if err := r.decode(&in); err != nil {
		return err
	}
	done, err := t.ImportCA(r.Context(), r.by, []byte(in.Chain))
	return r.applied(done, err)
}

func (s *Server) retireCA(r *request) error {
	return s.propose(r, fsm.RetireCA{ID: r.PathValue("id")})
}

func (s *Server) sealCA(r *request) error {
	return s.passphrase(r, func(t Trust, text string) error { return t.SealCA(text) })
}

func (s *Server) unlockCA(r *request) error {
	return s.passphrase(r, func(t Trust, text string) error { return t.UnlockCA(text) })
}

func (s *Server) passphrase(r *request, do func(Trust, string) error) error {
	t, err := s.trust()
	if err != nil {
		return err
	}
	var in CAPassphrase
	if err := r.decode(&in); err != nil {
		return err
	}
	if len(in.Passphrase) > 1024 {
		return fail("invalid", "passphrase", "", "it has %d bytes, 1024 are the most", len(in.Passphrase))
	}
	if err := do(t, in.Passphrase); err != nil {
		return err
	}
	return s.showCAs(r)
}

func (s *Server) listRevoked(r *request) error {
	st := s.cfg.Log.State()
	rows := []RevokedRow{}
	for _, x := range st.Revoked.All {
		rows = append(rows, RevokedRow{Serial: x.Serial, Subject: x.Subject, At: x.At.Time(), Until: x.Until.Time(), Why: x.Why, By: x.By})
	}
	return r.reply(st.Index, rows)
}

func (s *Server) revokeCert(r *request) error {
	t, err := s.trust()
	if err != nil {
		return err
	}
	var in Revocation
	if err := r.decode(&in); err != nil {
		return err
	}
	cmd := fsm.RevokeCert{Serial: in.Serial, Jail: fsm.JailName(in.Jail), Why: in.Why}
	given := 0
	for _, text := range []string{in.Serial, in.Jail, in.Host, in.User} {
		if text != "" {
			given++
		}
	}
	if given != 1 {
		return fail("bad_request", "certificate", "rexctl ca revoke jail/NAME", "want one of serial, jail, host and user")
	}
	switch {
	case in.User != "":
		cmd.Subject = t.Subject("user", in.User)
	case in.Host != "":
		h, err := s.hostCalled(in.Host)
		if err != nil {
			return err
		}
		cmd.Subject = t.Subject(h.Role, string(h.ID))
	}
	return s.propose(r, cmd)
}

func (s *Server) hostCalled(name string) (*fsm.Host, error) {
	for _, h := range s.cfg.Log.State().Hosts.All {
		if h.Name == name || string(h.ID) == name {
			return h, nil
		}
	}
	return nil, notFound("host", name)
}

func (s *Server) rotateGossip(r *request) error {
	t, err := s.trust()
	if err != nil {
		return err
	}
	key, err := t.GossipKey()
	if err != nil {
		return err
	}
	return s.propose(r, fsm.RotateGossip{Key: key})
}

// StampOf is a time of the log as JSON has it, nil for never.
func StampOf(t fsm.Time) *time.Time {
	if t == 0 {
		return nil
	}
	at := t.Time()
	return &at
}
