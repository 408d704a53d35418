package fsm

import (
	"maps"
	"strings"
)

func (c RegisterHost) decide(t *txn) *Refusal {
	now := c.Host
	object := "host " + now.Name
	switch {
	case !validHostID(string(now.ID)) || len(now.Name) == 0 || len(now.Name) > 253 || strings.ContainsAny(now.Name, "/ \n"):
		return refuse(CodeInvalid, object, "the id %q must be 1 to 64 of letters, digits, '.', '_' and '-', and the name a host name", now.ID)
	case t.isDenied(now.ID):
		return refuse(CodeFenced, object, "was removed from this cluster: wipe its data directory and join as a new host")
	case !speaksFor(t.by, now.ID):
		return refuse(CodeFenced, object, "is %s: %s cannot register it", now.ID, t.by)
	case now.Capacity.MilliCPU < 0 || now.Capacity.MemoryBytes < 0 || now.Capacity.Jails < 0, now.Level < 0:
		return refuse(CodeInvalid, object, "its capacity %v is negative", now.Capacity)
	case now.Peer != "" && !validPeer(now.Peer), now.Gossip != "" && !validPeer(now.Gossip):
		return refuse(CodeInvalid, object, "its addresses %q and %q are not HOST:PORT", now.Peer, now.Gossip)
	case len(now.Labels) > 256 || len(now.Features) > 256:
		return refuse(CodeInvalid, object, "more than 256 labels or features")
	}
	if twin := t.hostNamed(now.Name); twin != nil && twin.ID != now.ID && twin.State != HostLost {
		return refuse(CodeConflict, object, "the name belongs to host %s, which is %s, and now %s wants it: give this host another name, or mark the old one lost first",
			twin.ID, twin.State, now.ID)
	}
	now.State, now.SeenAt = HostAlive, t.s.Now
	old, ok := t.hosts.get(string(now.ID))
	now.Key, now.Set, now.FencedAt, now.Overlay, now.Drain, now.Alarms = "", nil, 0, nil, nil, nil // not the host's to say: a daemon that starts has not looked yet what runs
	if ok {
		now.inherit(old)
	}
	if ok && old.State == HostDraining {
		now.State = HostDraining // a restart does not undo what an operator said
	}
	if ok {
		same := now
		same.SeenAt = old.SeenAt
		if sameJSON(old, &same) {
			return nil
		}
	}
	t.emit(HostRegistered{&now})
	return nil
}

// inherit takes over what was decided about a host elsewhere: a token gave
// it its role, an operator its labels.
func (h *Host) inherit(old *Host) {
	h.Key, h.Set, h.FencedAt, h.Overlay, h.Drain, h.Alarms = old.Key, old.Set, old.FencedAt, old.Overlay, old.Drain, old.Alarms
	if old.Key != "" {
		h.Role = old.Role
	}
	if len(old.Set) > 0 {
		h.Labels = maps.Clone(h.Labels)
		for k, v := range old.Set {
			put(&h.Labels, k, v)
		}
	}
}

func (t *txn) isDenied(h HostID) bool {
	_, out := t.denied.get(string(h))
	return out
}

func (c MarkHost) decide(t *txn) *Refusal {
	old, ok := t.hosts.get(string(c.Host))
	switch {
	case !ok:
		return refuse(CodeNotFound, "host "+string(c.Host), "is not known: list hosts with `rexctl host ls`")
	case c.State != HostAlive && c.State != HostDraining && c.State != HostLost:
		return refuse(CodeInvalid, "host "+old.Name, "state %q is not alive, draining or lost", c.State)
	case len(c.Why) > maxReason:
		return refuse(CodeInvalid, "host "+old.Name, "the reason has %d bytes, %d are the most", len(c.Why), maxReason)
	case c.Drain != nil && (c.State != HostDraining || c.Drain.Parallel < 0 || c.Drain.Until < 0):
		return refuse(CodeInvalid, "host "+old.Name, "the pace of a drain is for draining hosts, and not negative")
	case c.Over && old.State != c.State:
		return refuse(CodeConflict, "host "+old.Name, "is %s, not %s", old.State, c.State)
	case c.Over && old.FencedAt == 0, !c.Over && old.State == c.State && sameJSON(old.Drain, c.Drain):
		return nil
	case old.State == HostJoining && c.State != HostLost:
		return refuse(CodeConflict, "host "+old.Name, "has not run yet: start rexcarcer there")
	}
	now := *old
	now.State, now.SeenAt, now.Drain = c.State, t.s.Now, c.Drain
	switch {
	case c.Over:
		now.FencedAt, now.SeenAt, now.Drain = 0, old.SeenAt, old.Drain
	case c.State == HostLost:
		now.FencedAt = c.Fence
	} // one that is back may still have to stop what it ran: its fence stays
	t.emit(HostMarked{&now, c.Why})
	if c.State == HostLost && !c.Over {
		t.failMoves(&now, "host "+now.Name+" is lost")
		t.loseRuns(&now, c.Why)
	}
	return nil
}

// loseRuns ends all Runs of a host in the entry that calls it lost.
func (t *txn) loseRuns(h *Host, why string) {
	var runs []*Run
	t.byHost.each(string(h.ID)+"/", func(_ string, r *Run) bool {
		runs = append(runs, r)
		return true
	})
	for _, r := range runs {
		now := *r
		now.Phase = Lost
		now.Reason = strings.TrimSuffix("host "+h.Name+" is lost: "+why, ": ")
		now.settle(r, t.s.Now)
		t.emit(RunReported{&now, r.Phase})
		t.serve(r, &now)
		t.runOver(r.Jail)
	}
}

func (t *txn) hostNamed(name string) *Host {
	var twin *Host
	t.hosts.each("", func(_ string, h *Host) bool {
		if h.Name == name && h.State != HostLost {
			twin = h
		}
		return twin == nil
	})
	return twin
}

func validHostID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, r := range id {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)) {
			return false
		}
	}
	return true
}
