package fsm

import "net/netip"

// How each Event changes the State. No checks here: an Event has happened.
// Values are put in as they are, so nobody may change them afterwards.

func (e ClusterFounded) evolve(t *txn) {
	t.s.Cluster = e.Cluster
	t.planMoved()
}

func (e DomainChanged) evolve(t *txn) {
	t.s.Cluster.Domain = e.Domain
	t.planMoved()
}

func (e WishApplied) evolve(t *txn) {
	t.wishes.put(e.Wish.Name, e.Wish)
	t.planMoved()
}

func (e WishDestroyed) evolve(t *txn) {
	t.wishes.del(e.Name)
	t.planMoved()
}

func (e NetworkCreated) evolve(t *txn) { t.setNetwork(e.Network) }
func (e NetworkChanged) evolve(t *txn) { t.setNetwork(e.Network) }

func (e NetworkRemoved) evolve(t *txn) {
	t.networks.del(e.Name)
	t.dropPool(e.Name, netip.IPv4Unspecified())
	t.dropPool(e.Name, netip.IPv6Unspecified())
	t.planMoved()
}

func (e ImageTagged) evolve(t *txn) {
	t.images.put(e.Image.Name, e.Image)
	t.planMoved()
}

func (e ImageUntagged) evolve(t *txn) {
	t.images.del(e.Name)
	t.planMoved()
}

func (e BuildReported) evolve(t *txn) {
	if len(e.Build.Hosts) == 0 {
		t.builds.del(e.Build.Key)
		return
	}
	t.builds.put(e.Build.Key, e.Build)
}

func (e JailCreated) evolve(t *txn) {
	t.jails.put(e.Jail.Spec.Name, e.Jail)
	t.joinGroup(e.Jail)
	t.planMoved()
}

func (e JailChanged) evolve(t *txn) {
	old, _ := t.jails.get(e.Jail.Spec.Name)
	if old != nil && (old.Spec.Group != e.Jail.Spec.Group || old.Spec.Index != e.Jail.Spec.Index) {
		t.leaveGroup(old)
		t.joinGroup(e.Jail)
	}
	t.jails.put(e.Jail.Spec.Name, e.Jail)
	t.planMoved()
}

func (e JailWanted) evolve(t *txn) {
	t.jails.put(e.Jail.Spec.Name, e.Jail)
	t.planMoved()
}

func (e JailRemoved) evolve(t *txn) {
	if old, ok := t.jails.get(string(e.Name)); ok {
		t.leaveGroup(old)
	}
	t.jails.del(string(e.Name))
	t.runs.del(string(e.Name))
	t.planMoved()
}

func (e LeaseGranted) evolve(t *txn) {
	t.grant(e.Lease)
	t.planMoved()
}

func (e LeaseReleased) evolve(t *txn) {
	t.release(e.Lease)
	t.planMoved()
}

func (e RecordAdded) evolve(t *txn) {
	t.records.put(RecordKey(e.Record), e.Record)
	t.s.RecordsIndex = t.s.Index
}

func (e RecordRemoved) evolve(t *txn) {
	t.records.del(RecordKey(e.Record))
	t.s.RecordsIndex = t.s.Index
}

func (e CertNamed) evolve(t *txn)     { t.certs.put(string(e.Cert.Jail), e.Cert) }
func (e CertRequested) evolve(t *txn) { t.certs.put(string(e.Cert.Jail), e.Cert) }
func (e CertIssued) evolve(t *txn)    { t.certs.put(string(e.Cert.Jail), e.Cert) }
func (e CertRemoved) evolve(t *txn)   { t.certs.del(string(e.Jail)) }

func (e JailPlaced) evolve(t *txn)  { t.setRun(e.Run) }
func (e RunStopping) evolve(t *txn) { t.setRun(e.Run) }
func (e RunReported) evolve(t *txn) { t.setRun(e.Run) }

func (e HostRegistered) evolve(t *txn) {
	t.hosts.put(string(e.Host.ID), e.Host)
	t.planMoved()
}

func (e HostMarked) evolve(t *txn) {
	t.hosts.put(string(e.Host.ID), e.Host)
	t.planMoved()
}
