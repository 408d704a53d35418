package fsm

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxRetire is the longest time for which a CA that signs nothing is trusted.
const maxRetire = 10 * 366 * 24 * time.Hour

// decide cannot parse certificates; it makes sure that there are two CAs at
// most, so that no chain is longer than the first one's path length allows.
func (c AddCA) decide(t *txn) *Refusal {
	object := "ca " + c.ID
	list := t.cas(c.Over)
	switch {
	case !validCAID(c.ID) || !validCAID(c.Over):
		return refuse(CodeInvalid, "ca", "the ids %.64q and %.64q must be 16 hex digits", c.ID, c.Over)
	case c.PEM == "" || c.Cross == "" || len(c.PEM)+len(c.Cross) > maxPEM:
		return refuse(CodeInvalid, object, "a certificate and a cross-certificate are wanted, %d bytes at most", maxPEM)
	case c.Retire < 0 || c.Retire > int64(maxRetire):
		return refuse(CodeInvalid, object, "the old one can stay trusted for 0 to %s", maxRetire)
	case isHost(t.by):
		return refuse(CodeFenced, object, "%s cannot add it: only users may", t.by)
	}
	if _, ok := t.hosts.get(string(c.Host)); !ok {
		return noHost(c.Host)
	}
	for _, ca := range list {
		switch {
		case ca.ID == c.ID:
			return nil
		case ca.State == CANew:
			return refuse(CodeConflict, object, "ca %s is still on its way in: wait (rexctl ca show), or give it up with `rexctl ca retire %s`", ca.ID, ca.ID)
		case ca.State == CAOld:
			return refuse(CodeConflict, object, "ca %s is still trusted, until %s: wait, or end that with `rexctl ca retire %s`", ca.ID, ca.RetireAt.Time().Format(time.RFC3339), ca.ID)
		case ca.State == CAActive && ca.ID != c.Over:
			return refuse(CodeConflict, object, "it is signed by ca %s, and ca %s signs now: ask again", c.Over, ca.ID)
		}
	}
	now := CA{ID: c.ID, PEM: c.PEM, Cross: c.Cross, State: CANew, Keys: []HostID{c.Host}, Hold: c.Hold, Retire: c.Retire, AddedAt: t.s.Now}
	t.emit(CAChanged{now, "it is trusted from now on; the servers fetch its key", append(slices.Clone(list), now)})
	return nil
}

// cas are the CAs; before the first change that is the founding one, which
// signs, under the id that the proposer has computed of it.
func (t *txn) cas(founding string) []CA {
	if len(t.s.Cluster.CAs) == 0 {
		return []CA{{ID: founding, PEM: t.s.Cluster.CA, State: CAActive}}
	}
	return t.s.Cluster.CAs
}

func validCAID(id string) bool {
	return len(id) == 16 && strings.Trim(id, "0123456789abcdef") == ""
}

func (c HoldCA) decide(t *txn) *Refusal {
	i, r := t.findCA(c.ID)
	if r != nil {
		return r
	}
	ca := t.s.Cluster.CAs[i]
	h, ok := t.hosts.get(string(c.Host))
	switch {
	case !ok:
		return noHost(c.Host)
	case !speaksFor(t.by, c.Host) || h.Role != RoleServer:
		return refuse(CodeFenced, "ca "+c.ID, "%s cannot say that host %s (%s) holds its key", t.by, h.Name, h.Role)
	case slices.Contains(ca.Keys, c.Host):
		return nil
	}
	ca.Keys = append(slices.Clone(ca.Keys), c.Host)
	slices.Sort(ca.Keys)
	t.changeCA(i, ca, "server "+h.Name+" holds its key")
	return nil
}

func (t *txn) findCA(id string) (int, *Refusal) {
	for i := range t.s.Cluster.CAs {
		if t.s.Cluster.CAs[i].ID == id {
			return i, nil
		}
	}
	return 0, refuse(CodeNotFound, "ca "+id, "is none of the cluster's: see `rexctl ca show`")
}

func (t *txn) changeCA(i int, ca CA, why string) {
	list := slices.Clone(t.s.Cluster.CAs)
	list[i] = ca
	t.emit(CAChanged{ca, why, list})
}

func (c ActivateCA) decide(t *txn) *Refusal {
	i, r := t.findCA(c.ID)
	if r != nil {
		return r
	}
	ca := t.s.Cluster.CAs[i]
	switch {
	case isHost(t.by):
		return refuse(CodeFenced, "ca "+c.ID, "%s cannot activate it", t.by)
	case ca.State == CAActive:
		return nil
	case ca.State != CANew:
		return refuse(CodeConflict, "ca "+c.ID, "is %s: it cannot sign again", ca.State)
	case ca.Hold && ca.Chain == "":
		return refuse(CodeConflict, "ca "+c.ID, "waits for its certificate from the operator's CA: `rexctl ca import`")
	}
	for k, old := range t.s.Cluster.CAs {
		if old.State == CAActive {
			old.State, old.RetireAt = CAOld, t.s.Now.Add(time.Duration(ca.Retire))
			t.changeCA(k, old, fmt.Sprintf("ca %s signs instead; trusted until %s", ca.ID, old.RetireAt.Time().Format(time.RFC3339)))
		}
	}
	ca.State, ca.ActiveAt, ca.Hold = CAActive, t.s.Now, false
	t.changeCA(i, ca, "it signs from now on")
	return nil
}

func (c ChainCA) decide(t *txn) *Refusal {
	object := "ca " + c.ID
	switch {
	case !validCAID(c.ID):
		return refuse(CodeInvalid, "ca", "the id %.64q must be 16 hex digits", c.ID)
	case isHost(t.by):
		return refuse(CodeFenced, object, "%s cannot put it under another: only users may", t.by)
	case c.Chain == "" || len(c.Chain) > maxPEM:
		return refuse(CodeInvalid, object, "the chain has %d bytes of PEM, 1 to %d are taken", len(c.Chain), maxPEM)
	}
	list := t.cas(c.ID)
	if len(t.s.Cluster.CAs) == 0 && strings.TrimSpace(c.Over) != strings.TrimSpace(t.s.Cluster.CA) {
		return refuse(CodeConflict, object, "is not the cluster's: see `rexctl ca show`")
	}
	i := slices.IndexFunc(list, func(ca CA) bool { return ca.ID == c.ID })
	if i < 0 {
		return refuse(CodeNotFound, object, "is none of the cluster's: see `rexctl ca show`")
	}
	ca := list[i]
	switch {
	case ca.State == CAOld:
		return refuse(CodeConflict, object, "signs nothing any more: import a certificate for the one that does")
	case ca.Chain == c.Chain:
		return nil
	}
	ca.Chain = c.Chain
	list = slices.Clone(list)
	list[i] = ca
	t.emit(CAChanged{ca, "it is under the operator's CA", list})
	return nil
}

func (c RetireCA) decide(t *txn) *Refusal {
	i := slices.IndexFunc(t.s.Cluster.CAs, func(ca CA) bool { return ca.ID == c.ID })
	if i < 0 {
		return nil // it is gone, as asked
	}
	ca := t.s.Cluster.CAs[i]
	switch {
	case isHost(t.by):
		return refuse(CodeFenced, "ca "+c.ID, "%s cannot retire it", t.by)
	case ca.State == CAActive:
		return refuse(CodeConflict, "ca "+c.ID, "signs now: `rexctl ca rotate` first")
	case !strings.HasPrefix(t.by, "user/") && t.s.Now < ca.RetireAt:
		return refuse(CodeConflict, "ca "+c.ID, "is trusted until %s", ca.RetireAt.Time().Format(time.RFC3339))
	}
	t.emit(CARetired{c.ID, slices.Delete(slices.Clone(t.s.Cluster.CAs), i, i+1)})
	return nil
}
