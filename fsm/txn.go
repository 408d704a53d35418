package fsm

import "github.com/rexcarcer/rexcarcer/spec"

// txn is a State that is being built: one per batch of entries. Commands read
// it, Events write it, and nobody else has it.
type txn struct {
	s State // scalars live here; its trees are those of the beginning

	sharing *sharing // only while a snapshot is read

	wishes   table[*spec.Wish]
	networks table[*Network]
	images   table[*Image]
	builds   table[*Build]
	jails    table[*Jail]
	groups   table[*Group]
	runs     table[*Run]
	byHost   table[*Run]
	leases   table[*Lease]
	records  table[*Record]
	certs    table[*Cert]
	hosts    table[*Host]
	signers  table[*Signer]
	bases    table[*Base]
	moves    table[*Move]
	volumes  table[*Volume]
	tokens   table[*Token]
	denied   table[*Denied]
	revoked  table[*Revoked]
	parts    table[*restoring]
	load     table[Resources]
	young    table[idResult]
	old      table[idResult]
	pools    table[pool]
	free     table[struct{}]
	resting  table[string]
	lasts    table[string]
	guests   table[*Guest]
	clients  table[*Guest]

	members map[string]*Group // groups that changed: owned by this txn until flush

	v      uint16     // of the entry at hand: rules that came later ask it
	by     string     // of the entry at hand
	events []Happened // of the entry at hand
	saved  *scalars
}

// scalars is what save keeps beside the tables.
type scalars struct {
	cluster      Cluster
	plan, record uint64
	lostSeq      uint64
}

func begin(s *State) *txn {
	return &txn{
		s:      *s,
		wishes: tableOf(s.Wishes), networks: tableOf(s.Networks), images: tableOf(s.Images),
		builds: tableOf(s.Builds), jails: tableOf(s.Jails), groups: tableOf(s.Groups),
		runs: tableOf(s.Runs), byHost: tableOf(s.ByHost), leases: tableOf(s.Leases),
		records: tableOf(s.Records), certs: tableOf(s.Certs), hosts: tableOf(s.Hosts),
		signers: tableOf(s.Signers), bases: tableOf(s.Bases),
		moves: tableOf(s.Moves), volumes: tableOf(s.Volumes),
		tokens: tableOf(s.Tokens), denied: tableOf(s.Denied), revoked: tableOf(s.Revoked), parts: tableOf(s.parts),
		load: tableOf(s.Load), young: tableOf(s.young), old: tableOf(s.old),
		pools: tableOf(s.pools), free: tableOf(s.free), resting: tableOf(s.resting), lasts: tableOf(s.lasts),
		guests: tableOf(s.Guests), clients: tableOf(s.clients),
	}
}

// commit publishes what was built. The txn must not be used again.
func (t *txn) commit() *State {
	t.flush()
	s := t.s
	s.Wishes, s.Networks, s.Images = t.wishes.tree(), t.networks.tree(), t.images.tree()
	s.Builds, s.Jails, s.Groups = t.builds.tree(), t.jails.tree(), t.groups.tree()
	s.Runs, s.ByHost, s.Leases = t.runs.tree(), t.byHost.tree(), t.leases.tree()
	s.Records, s.Certs, s.Hosts = t.records.tree(), t.certs.tree(), t.hosts.tree()
	s.Tokens, s.Denied = t.tokens.tree(), t.denied.tree()
	s.Revoked, s.parts = t.revoked.tree(), t.parts.tree()
	s.Signers, s.Bases = t.signers.tree(), t.bases.tree()
	s.Moves, s.Volumes = t.moves.tree(), t.volumes.tree()
	s.Load, s.young, s.old = t.load.tree(), t.young.tree(), t.old.tree()
	s.pools, s.free, s.resting, s.lasts = t.pools.tree(), t.free.tree(), t.resting.tree(), t.lasts.tree()
	s.Guests, s.clients = t.guests.tree(), t.clients.tree()
	return &s
}

// save marks the point to which rollback returns.
func (t *txn) save() {
	t.flush()
	t.saved = &scalars{t.s.Cluster, t.s.PlanIndex, t.s.RecordsIndex, t.s.lostSeq}
	t.eachTable(func(x interface{ save() }) { x.save() })
}

// rollback forgets all that was emitted since save.
func (t *txn) rollback() {
	t.s.Cluster, t.s.PlanIndex, t.s.RecordsIndex, t.s.lostSeq =
		t.saved.cluster, t.saved.plan, t.saved.record, t.saved.lostSeq
	t.members, t.events, t.saved = nil, nil, nil
	t.eachTable(func(x interface{ save() }) { x.(interface{ restore() }).restore() })
}

func (t *txn) eachTable(f func(interface{ save() })) {
	for _, x := range []interface{ save() }{
		&t.wishes, &t.networks, &t.images, &t.builds, &t.jails, &t.groups, &t.runs, &t.byHost, &t.leases,
		&t.records, &t.certs, &t.hosts, &t.revoked, &t.parts, &t.signers, &t.bases, &t.moves, &t.volumes,
		&t.tokens, &t.denied, &t.load, &t.young, &t.old, &t.pools, &t.free, &t.resting, &t.lasts,
		&t.guests, &t.clients,
	} {
		f(x)
	}
}

// emit folds an Event at once, so that what is decided next sees it.
func (t *txn) emit(ev Event) {
	ev.evolve(t)
	t.events = append(t.events, Happened{Index: t.s.Index, Time: t.s.Now, By: t.by, Event: ev})
}

func (t *txn) planMoved() { t.s.PlanIndex = t.s.Index }
