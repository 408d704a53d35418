package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds of what is restored.
const (
	maxPart  = 4 << 20 // bytes
	maxParts = 64
)

// restoring is one part that waits for the others.
type restoring struct {
	ID   string `json:"id"`
	Data []byte `json:"data"`
}

func partKey(n int) string { return fmt.Sprintf("%04d", n) }

func (c RestorePart) decide(t *txn) *Refusal {
	object := "snapshot " + clip16(c.ID)
	switch {
	case isHost(t.by):
		return refuse(CodeFenced, object, "%s cannot restore it: only users may", t.by)
	case !validHash(c.ID) || c.N < 0 || c.N >= maxParts || len(c.Data) == 0 || len(c.Data) > maxPart:
		return refuse(CodeInvalid, object, "part %d of %d bytes: want the SHA-256 of the snapshot, a part of 0 to %d, and 1 to %d bytes", c.N, len(c.Data), maxParts-1, maxPart)
	}
	first, ok := t.parts.get(partKey(0))
	switch {
	case c.N > 0 && (!ok || first.ID != c.ID):
		return refuse(CodeConflict, object, "its first part is not here: another restore has begun meanwhile; begin again")
	case c.N == 0 && ok && first.ID == c.ID:
		return nil
	}
	t.emit(RestorePrepared{ID: c.ID, N: c.N, Bytes: len(c.Data), part: &restoring{c.ID, c.Data}})
	return nil
}

func clip16(id string) string { return id[:min(len(id), 16)] }

func validHash(id string) bool {
	return len(id) == 2*sha256.Size && strings.Trim(id, "0123456789abcdef") == ""
}

// decide reads the whole snapshot: it is a rare command, and costs as much as
// a start from it.
func (c RestoreState) decide(t *txn) *Refusal {
	object := "snapshot " + clip16(c.ID)
	if isHost(t.by) {
		return refuse(CodeFenced, object, "%s cannot restore it: only users may", t.by)
	}
	first, ok := t.parts.get(partKey(0))
	switch {
	case c.Drop && (!ok || first.ID != c.ID):
		return nil
	case c.Drop:
		t.emit(RestoreDropped{c.ID})
		return nil
	case !ok || first.ID != c.ID || t.parts.n != c.Parts:
		return refuse(CodeConflict, object, "%d parts are here, not all %d of it: begin again", t.parts.n, c.Parts)
	}
	if m := t.moving(); m != nil {
		return refuse(CodeConflict, object, "%s is on its way to another host: wait until it is there, or give that up (rexctl move ls)", m.Object())
	}
	saved, r := c.read(t, object)
	if r != nil {
		return r
	}
	if saved.Cluster.ID != t.s.Cluster.ID && !c.Foreign {
		return refuse(CodeConflict, object, "is of cluster %s, and this is %s: to take over what it declares all the same, with certificates of this cluster: --foreign", saved.Cluster.ID, t.s.Cluster.ID)
	}
	content := saved.ContentHash()
	t.emit(StateRestored{ID: c.ID, From: saved.Cluster.ID, Index: saved.Index, Content: hex.EncodeToString(content[:]), Jails: saved.Jails.Len(), saved: saved})
	// Jails that were on their way out have no Run to wait for any more.
	var rest []JailName
	t.jails.each("", func(name string, j *Jail) bool {
		if _, live := t.liveRun(JailName(name)); !live && (j.Want == WantGone || len(j.OldAddrs) > 0) {
			rest = append(rest, JailName(name))
		}
		return true
	})
	for _, name := range rest {
		t.runOver(name)
	}
	return nil
}

// moving is a move that goes on, nil if none does.
func (t *txn) moving() (found *Move) {
	t.moves.each("", func(_ string, m *Move) bool {
		if !m.Phase.Over() {
			found = m
		}
		return found == nil
	})
	return found
}

func (c RestoreState) read(t *txn, object string) (*State, *Refusal) {
	var readers []io.Reader
	sum := sha256.New()
	for n := range c.Parts {
		p, ok := t.parts.get(partKey(n))
		if !ok || p.ID != c.ID {
			return nil, refuse(CodeConflict, object, "part %d is not here: begin again", n)
		}
		sum.Write(p.Data)
		readers = append(readers, bytes.NewReader(p.Data))
	}
	if hex.EncodeToString(sum.Sum(nil)) != c.ID {
		return nil, refuse(CodeInvalid, object, "its parts are not what it says: it was altered or damaged")
	}
	saved, err := Read(io.MultiReader(readers...))
	if err != nil {
		// What a decoder says of damage may differ between versions of it.
		return nil, refuse(CodeInvalid, object, "cannot be read: it was altered, or is of a later version")
	}
	if saved.Cluster.ID == "" {
		return nil, refuse(CodeInvalid, object, "is of no cluster")
	}
	return saved, nil
}

// restore puts what saved declares into t and keeps what t is: members,
// tokens, trust, who holds which build, and the Runs of jails that stay what
// they are.
func (t *txn) restore(saved *State) {
	jails, runs, certs, domain := t.jails.tree(), t.runs.tree(), t.certs.tree(), t.s.Cluster.Domain
	guests, networks := t.guests.tree(), t.networks.tree()
	t.members = nil
	t.wishes, t.networks, t.images = tableOf(saved.Wishes), tableOf(saved.Networks), tableOf(saved.Images)
	t.jails, t.groups, t.leases, t.certs = tableOf(saved.Jails), tableOf(saved.Groups), tableOf(saved.Leases), tableOf(saved.Certs)
	t.signers, t.bases = tableOf(saved.Signers), tableOf(saved.Bases)
	t.pools, t.free, t.resting, t.lasts = tableOf(saved.pools), tableOf(saved.free), tableOf(saved.resting), tableOf(saved.lasts)
	t.runs, t.byHost, t.load, t.records = tableOf(Tree[*Run]{}), tableOf(Tree[*Run]{}), tableOf(Tree[Resources]{}), tableOf(Tree[*Record]{})
	t.parts = tableOf(Tree[*restoring]{})
	t.s.Cluster.Domain = saved.Cluster.Domain
	t.s.Now = max(t.s.Now, saved.Now)
	t.raiseSeqs(saved, runs)
	t.addBuilds(saved)
	for name, j := range saved.Jails.All {
		old, was := jails.Get(name)
		run, ran := runs.Get(name)
		same := was && ran && domain == saved.Cluster.Domain && old.UUID == j.UUID && slices.Equal(old.Addrs, j.Addrs)
		if same {
			t.setRun(run)
		} else {
			again := *j
			again.SeqBase = t.s.lostSeq
			t.jails.put(name, &again)
			run = nil
		}
		for _, r := range recordsOf(j, run, t.s.Cluster.Domain) {
			t.records.put(RecordKey(r), r)
		}
		t.restoreCert(name, certs)
	}
	t.restoreGuests(guests, networks)
	t.planMoved()
	t.s.RecordsIndex = t.s.Index
}

// raiseSeqs makes sure that no Run which is placed from now on has the number
// of one that a host may still have, from here or from where saved was made:
// between the snapshot and its end that cluster may have placed more.
func (t *txn) raiseSeqs(saved *State, runs Tree[*Run]) {
	floor := max(t.s.lostSeq, saved.lostSeq)
	for _, tree := range []Tree[*Run]{runs, saved.Runs} {
		for _, r := range tree.All {
			floor = max(floor, r.Seq)
		}
	}
	t.s.lostSeq = floor + restoreGap
}

// restoreGap is more Runs than a jail can have had since any snapshot.
const restoreGap = 1 << 20

// addBuilds keeps what hosts of this cluster hold, here or as saved has it.
func (t *txn) addBuilds(saved *State) {
	for key, b := range saved.Builds.All {
		if _, known := t.builds.get(key); known {
			continue
		}
		now := *b
		now.Hosts = slices.DeleteFunc(slices.Clone(b.Hosts), func(h HostID) bool {
			_, member := t.hosts.get(string(h))
			return !member
		})
		if len(now.Hosts) > 0 {
			t.builds.put(key, &now)
		}
	}
}

// restoreCert keeps the certificate that the jail has now if it says the same.
func (t *txn) restoreCert(name string, before Tree[*Cert]) {
	saved, ok := t.certs.get(name)
	if !ok {
		return
	}
	uri := spiffeID(t.s.Cluster.ID, name)
	if now, ok := before.Get(name); ok && now.URI == uri && slices.Equal(now.Names, saved.Names) && slices.Equal(now.Addrs, saved.Addrs) {
		t.certs.put(name, now)
		return
	}
	bare := *saved
	bare.CSR, bare.CSRBy, bare.CSRSeq = nil, "", 0
	if saved.URI != uri {
		bare.URI, bare.PEM, bare.Serial, bare.NotAfter, bare.CA = uri, "", "", 0, ""
	}
	t.certs.put(name, &bare)
}

// ContentHash is the SHA-256 of what a State declares, without what its
// cluster is and what its hosts have seen: equal before a save and after a
// restore.
func (s *State) ContentHash() [32]byte {
	h := sha256.New()
	only := &State{Wishes: s.Wishes, Networks: s.Networks, Images: s.Images, Leases: s.Leases, Signers: s.Signers, Bases: s.Bases, lasts: s.lasts}
	only.Cluster.Domain = s.Cluster.Domain
	jails := begin(&State{})
	for name, j := range s.Jails.All {
		plain := *j
		plain.SeqBase = 0
		jails.jails.put(name, &plain)
	}
	only.Jails = jails.jails.tree()
	if err := only.Dump(h); err != nil {
		fmt.Fprintf(h, "error: %v", err) // no value in a State fails to encode
	}
	return [32]byte(h.Sum(nil))
}
