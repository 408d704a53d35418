package fsm

func (c WantJail) decide(t *txn) *Refusal {
	j, ok := t.jails.get(string(c.Jail))
	if !ok {
		return noJail(c.Jail)
	}
	if j.Want == WantGone && c.Want != WantGone {
		// Its wish no longer declares it: brought back it would belong to nobody.
		return refuse(CodeConflict, "jail "+string(c.Jail), "is being removed: apply a file that declares it to have it back")
	}
	switch c.Want {
	case WantGone:
		t.removeJail(j, "removed by "+t.by)
	case WantStopped, WantRunning:
		if j.Want != c.Want {
			t.want(j, c.Want, string(c.Want)+" wanted by "+t.by)
		}
		if r, ok := t.liveRun(c.Jail); ok && c.Want == WantStopped {
			t.stop(r, "stopped by "+t.by)
		}
	default:
		return refuse(CodeInvalid, "jail "+string(c.Jail), "want %q is not running, stopped or gone", c.Want)
	}
	return nil
}

func (c RestartJail) decide(t *txn) *Refusal {
	j, ok := t.jails.get(string(c.Jail))
	switch {
	case !ok:
		return noJail(c.Jail)
	case j.Want != WantRunning:
		return refuse(CodeConflict, "jail "+string(c.Jail), "is wanted %s, so there is nothing to restart: start it instead", j.Want)
	}
	now := *j
	now.Restart++
	t.emit(JailWanted{&now, "restart wanted by " + t.by})
	return nil
}

func noJail(name JailName) *Refusal {
	return refuse(CodeNotFound, "jail "+string(name), "is not known: list jails with `rexctl ps`, or apply the file that declares it")
}

func (t *txn) want(j *Jail, w Want, why string) {
	now := *j
	now.Want = w
	t.emit(JailWanted{&now, why})
}

// liveRun is the jail's Run, if it has one that is not over.
func (t *txn) liveRun(name JailName) (*Run, bool) {
	r, ok := t.runs.get(string(name))
	if !ok || r.Phase.Over() {
		return nil, false
	}
	return r, true
}

// stop asks the agent to end r, and takes it out of service at once. The
// first reason stays.
func (t *txn) stop(r *Run, why string) { t.stopFor(r, why, "") }

// stopFor is stop for the sake of another jail.
func (t *txn) stopFor(r *Run, why string, other JailName) {
	if r.StopWhy != "" {
		return
	}
	now := *r
	now.StopWhy, now.PushedBy = why, other
	if now.StopWhy == "" {
		now.StopWhy = "asked to stop"
	}
	t.emit(RunStopping{&now})
	t.serve(r, &now)
}

// serve brings the service records in line after a Run moved from old to now.
func (t *txn) serve(old, now *Run) {
	if old.serving() == now.serving() {
		return
	}
	if j, ok := t.jails.get(string(now.Jail)); ok {
		t.syncRecords(recordsOf(j, old, t.s.Cluster.Domain), recordsOf(j, now, t.s.Cluster.Domain))
	}
}

// removeJail lets j go: at once if nothing of it runs, else when its Run is over.
func (t *txn) removeJail(j *Jail, why string) {
	r, live := t.liveRun(JailName(j.Spec.Name))
	if !live {
		t.dropJail(j)
		return
	}
	if j.Want != WantGone {
		t.want(j, WantGone, why)
	}
	t.stop(r, "removed")
}

// dropJail takes away all that belongs to the slot, in one entry.
func (t *txn) dropJail(j *Jail) {
	name := JailName(j.Spec.Name)
	t.moveGone(name)
	r, _ := t.runs.get(string(name))
	t.syncRecords(recordsOf(j, r, t.s.Cluster.Domain), nil)
	for _, a := range j.OldAddrs { // first: if the jail returns, it gets the newer one
		t.releaseAddr(name, a)
	}
	for _, a := range j.Addrs {
		t.releaseAddr(name, a)
	}
	if _, ok := t.certs.get(string(name)); ok {
		t.emit(CertRemoved{name})
	}
	t.emit(JailRemoved{name})
	for _, a := range j.Addrs {
		t.dropNetwork(a.Network)
	}
	for _, a := range j.OldAddrs {
		t.dropNetwork(a.Network)
	}
}

// dropNetwork removes a network that is Gone, once its last jail has left.
func (t *txn) dropNetwork(name string) {
	if n, ok := t.networks.get(name); ok && n.Gone && t.liveIn(name) == 0 {
		t.dropGuests(name)
		t.emit(NetworkRemoved{name})
	}
}

// runOver is what follows from the end of a jail's Run.
func (t *txn) runOver(name JailName) {
	t.moveRunOver(name)
	j, ok := t.jails.get(string(name))
	switch {
	case !ok:
	case j.Want == WantGone:
		t.dropJail(j)
	case len(j.OldAddrs) > 0:
		now := *j
		now.OldAddrs = nil
		for _, a := range j.OldAddrs {
			t.releaseAddr(name, a)
		}
		t.emit(JailChanged{&now, "old addresses released"})
		for _, a := range j.OldAddrs {
			t.dropNetwork(a.Network)
		}
	}
}
