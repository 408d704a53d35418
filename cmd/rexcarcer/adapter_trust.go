package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// apiTrust is the CA as the API sees it.
type apiTrust struct{ d *daemon }

// keyless tells a user in the API's words why this host cannot sign.
func keyless(err error) error {
	switch {
	case errors.Is(err, pki.ErrLocked):
		return &api.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Object: "ca", Message: "the keys on this server are sealed, and it has not been told the passphrase", Hint: "rexctl ca unlock"}
	case errors.Is(err, pki.ErrNoKey):
		return &api.Error{Status: http.StatusMisdirectedRequest, Code: "elsewhere", Object: "ca", Message: err.Error(), Hint: "ask a server: rexctl host ls"}
	case errors.Is(err, pki.ErrPassphrase):
		return &api.Error{Status: http.StatusUnprocessableEntity, Code: "invalid", Object: "ca", Message: err.Error()}
	}
	return err
}

// CAs implements api.Trust.
func (t apiTrust) CAs(s *fsm.State) (api.CAView, error) {
	view := api.CAView{Host: t.d.o.Name, CAs: []api.CARow{}}
	view.Sealed, view.Locked = t.d.m.ring.Sealed()
	list := s.Cluster.CAs
	if len(list) == 0 {
		id, err := pki.CAID([]byte(s.Cluster.CA))
		if err != nil {
			return view, err
		}
		list = []fsm.CA{{ID: id, PEM: s.Cluster.CA, State: fsm.CAActive}}
	}
	for _, ca := range list {
		row, err := caRow(s, ca)
		if err != nil {
			return view, err
		}
		if ca.State == fsm.CAActive {
			view.CAs = append([]api.CARow{row}, view.CAs...)
			continue
		}
		view.CAs = append(view.CAs, row)
	}
	return view, nil
}

func caRow(s *fsm.State, ca fsm.CA) (api.CARow, error) {
	about, err := pki.Describe([]byte(ca.PEM))
	if err != nil {
		return api.CARow{}, fmt.Errorf("ca %s: %w", ca.ID, err)
	}
	row := api.CARow{ID: ca.ID, State: string(ca.State), Subject: about.Subject, NotAfter: about.NotAfter, HeldBy: []string{},
		ActiveAt: api.StampOf(ca.ActiveAt), RetireAt: api.StampOf(ca.RetireAt), PEM: ca.PEM, Chain: ca.Chain}
	if ca.Chain != "" {
		if certs, err := pki.ParseChain([]byte(ca.Chain)); err == nil {
			row.Under = certs[len(certs)-1].Issuer.String()
		}
	}
	for _, id := range ca.Keys {
		if h, ok := s.Hosts.Get(string(id)); ok {
			row.HeldBy = append(row.HeldBy, h.Name)
		}
	}
	if ca.State == fsm.CANew {
		row.Waits = lacking(s, ca)
		if ca.Hold && ca.Chain == "" {
			row.Waits = append(row.Waits, "rexctl ca import")
		}
	}
	return row, nil
}

// RotateCA implements api.Trust. The key is on this server's disk before the
// log hears of it; what a crash leaves of it is removed later.
func (t apiTrust) RotateCA(ctx context.Context, by string, in api.CARotation) (fsm.Applied, error) {
	retire := hostCertLife // no certificate of the old one is valid for longer
	if in.RetireAfter != "" {
		var err error
		if retire, err = time.ParseDuration(in.RetireAfter); err != nil || retire < time.Second {
			return fsm.Applied{}, &api.Error{Status: http.StatusUnprocessableEntity, Code: "invalid", Object: "ca", Message: fmt.Sprintf("retire_after %q: want a time of 1s or more, as 720h", in.RetireAfter)}
		}
	}
	d := t.d
	list, err := trusted(d.node.State(), d.m.ring)
	if err != nil {
		return fsm.Applied{}, err
	}
	old, err := d.m.ring.Sign(list[0].PEM)
	if err != nil {
		return fsm.Applied{}, keyless(err)
	}
	key, err := pki.NewKey()
	if err != nil {
		return fsm.Applied{}, err
	}
	next, err := pki.NewCA(d.m.cluster, key, time.Now(), rand.Reader)
	if err != nil {
		return fsm.Applied{}, err
	}
	cross, err := pki.CrossSign(old, next, time.Now())
	if err != nil {
		return fsm.Applied{}, err
	}
	text, err := pki.EncodeKey(key)
	if err == nil {
		err = d.m.ring.Put(next.CertPEM(), text)
	}
	if err != nil {
		return fsm.Applied{}, keyless(err)
	}
	return t.propose(ctx, by, fsm.AddCA{ID: next.ID(), PEM: string(next.CertPEM()), Cross: string(cross), Over: old.ID(), Host: d.node.ID(), Hold: in.Hold, Retire: int64(retire)})
}

func (t apiTrust) propose(ctx context.Context, by string, cmd fsm.Command) (fsm.Applied, error) {
	done, err := t.d.node.Propose(ctx, by, cmd)
	return done, unavailable(err)
}

// find is the CA with an id; "" is the one to come if there is one, else that
// signs.
func (t apiTrust) find(id string) (fsm.CA, error) {
	s := t.d.node.State()
	list := s.Cluster.CAs
	if len(list) == 0 {
		own, err := pki.CAID([]byte(s.Cluster.CA))
		if err != nil {
			return fsm.CA{}, err
		}
		list = []fsm.CA{{ID: own, PEM: s.Cluster.CA, State: fsm.CAActive}}
	}
	var found *fsm.CA
	for i, ca := range list {
		if ca.ID == id || id == "" && (ca.State == fsm.CANew || ca.State == fsm.CAActive && found == nil) {
			found = &list[i]
		}
	}
	if found == nil {
		return fsm.CA{}, &api.Error{Status: http.StatusNotFound, Code: "not_found", Object: "ca " + id, Message: "is none of the cluster's", Hint: "rexctl ca show"}
	}
	return *found, nil
}

// RequestCA implements api.Trust.
func (t apiTrust) RequestCA(id string) ([]byte, error) {
	ca, err := t.find(id)
	if err != nil {
		return nil, err
	}
	signer, err := t.d.m.ring.Sign([]byte(ca.PEM))
	if err != nil {
		return nil, keyless(err)
	}
	return signer.Request()
}

// ImportCA implements api.Trust: whose chain it is follows from its key.
func (t apiTrust) ImportCA(ctx context.Context, by string, chainPEM []byte) (fsm.Applied, error) {
	s := t.d.node.State()
	var last error
	for _, id := range append(idsOf(s), "") {
		ca, err := t.find(id)
		if err != nil || ca.State == fsm.CAOld {
			continue
		}
		chain, _, err := pki.CheckChain([]byte(ca.PEM), chainPEM, time.Now())
		if err == nil {
			return t.propose(ctx, by, fsm.ChainCA{ID: ca.ID, Over: ca.PEM, Chain: string(chain)})
		}
		if last == nil || !errors.Is(err, pki.ErrOtherKey) {
			last = err
		}
	}
	return fsm.Applied{}, &api.Error{Status: http.StatusUnprocessableEntity, Code: "invalid", Object: "ca", Message: last.Error(), Hint: "rexctl ca csr"}
}

func idsOf(s *fsm.State) (ids []string) {
	for _, ca := range s.Cluster.CAs {
		ids = append(ids, ca.ID)
	}
	return ids
}

// SealCA implements api.Trust.
func (t apiTrust) SealCA(passphrase string) error {
	if !t.d.m.signs() {
		return keyless(pki.ErrNoKey)
	}
	return keyless(t.d.m.ring.Seal([]byte(passphrase)))
}

// UnlockCA implements api.Trust.
func (t apiTrust) UnlockCA(passphrase string) error {
	if !t.d.m.signs() {
		return keyless(pki.ErrNoKey)
	}
	if err := t.d.m.ring.Unlock([]byte(passphrase)); err != nil {
		return keyless(err)
	}
	t.d.log.Info("the CA's keys are open: this server signs when it leads")
	return nil
}

// Locked implements api.Trust.
func (t apiTrust) Locked() bool {
	_, locked := t.d.m.ring.Sealed()
	return locked
}

// Subject implements api.Trust.
func (t apiTrust) Subject(role, name string) string {
	return pki.ID{Cluster: t.d.m.cluster, Role: pki.Role(role), Name: name}.String()
}

// GossipKey implements api.Trust.
func (t apiTrust) GossipKey() ([]byte, error) {
	key := make([]byte, 32)
	if _, err := io.ReadFull(rand.Reader, key); err != nil {
		return nil, fmt.Errorf("gossip key: %w", err)
	}
	return key, nil
}
