package fsm

import (
	"slices"
	"strings"
)

func (c MoveJail) decide(t *txn) *Refusal {
	object := "jail " + string(c.Jail)
	j, ok := t.jails.get(string(c.Jail))
	switch {
	case !ok:
		return noJail(c.Jail)
	case isHost(t.by):
		return refuse(CodeFenced, object, "%s cannot move it", t.by)
	case len(c.Why) > maxReason:
		return refuse(CodeInvalid, object, "the reason has %d bytes, %d are the most", len(c.Why), maxReason)
	case j.Want == WantGone:
		return refuse(CodeConflict, object, "is being removed")
	}
	if m := t.activeMove(string(c.Jail)); m != nil {
		if m.To == c.To {
			return nil
		}
		return refuse(CodeConflict, object, "is on its way to host %s already (%s): wait, or `rexctl jail move %s --cancel`", t.hostName(m.To), m.Phase, c.Jail)
	}
	ids, quotas := j.Volumes()
	from, r := t.moveFrom(j, ids)
	if r == nil {
		r = t.mayMove(object, from, c.To, append(ids, string(c.Jail)))
	}
	if r == nil && j.Want == WantRunning {
		r = t.hostTakes(object, c.To, Demand(&j.Spec))
	}
	if r != nil {
		return r
	}
	t.forgetMoves(string(c.Jail))
	t.emit(MoveChanged{&Move{
		ID: t.s.Index, Jail: c.Jail, Volumes: ids, Quotas: quotas, From: from, To: c.To, Phase: MoveAsked, By: t.by, Reason: c.Why, AskedAt: t.s.Now,
	}})
	return nil
}

// moveFrom is the host that j and its volumes are on.
func (t *txn) moveFrom(j *Jail, ids []string) (HostID, *Refusal) {
	object := "jail " + j.Spec.Name
	r, ran := t.runs.get(j.Spec.Name)
	from := HostID("")
	switch {
	case ran && !r.Phase.Over() && r.StopWhy != "":
		return "", refuse(CodeConflict, object, "is being stopped on host %s (%s): try again in a moment", t.hostName(r.Host), r.StopWhy)
	case ran && (!r.Phase.Over() || len(ids) > 0):
		from = r.Host
	}
	sure := ran && !r.Phase.Over() // what runs says where it is; else what was recorded of volumes does
	for _, id := range ids {
		v, known := t.volumes.get(id)
		switch {
		case known && sure && from != v.Host:
			return "", refuse(CodeConflict, object, "volume %s is on host %s, and not on host %s like the rest of it", id, t.hostName(v.Host), t.hostName(from))
		case known:
			from, sure = v.Host, true
		}
	}
	if from == "" {
		return "", refuse(CodeConflict, object, "does not run and has no volume on any host: there is nothing to move")
	}
	return from, nil
}

// mayMove checks the two hosts, and that nothing of an earlier Move of the
// objects stands in the way.
func (t *txn) mayMove(object string, from, to HostID, objects []string) *Refusal {
	source, known := t.hosts.get(string(from))
	target, there := t.hosts.get(string(to))
	switch {
	case !there:
		return noHost(to)
	case from == to:
		return refuse(CodeInvalid, object, "is on host %s already", target.Name)
	case !known:
		return refuse(CodeConflict, object, "was on host %s, which is no member any more", from)
	case source.State == HostLost:
		return refuse(CodeConflict, object, "is on host %s, which is lost: it can be moved when that host is back", source.Name)
	case target.State != HostAlive:
		return refuse(CodeConflict, object, "cannot move to host %s, which is %s", target.Name, target.State)
	}
	for _, o := range objects {
		for _, m := range t.movesOf(o) {
			switch {
			case m.Active():
				return refuse(CodeConflict, object, "%s is on its way to host %s: wait until it is there", m, t.hostName(m.To))
			case !m.FromClean && (m.From == from || m.From == to):
				return refuse(CodeConflict, object, "host %s has not tidied up after the last move yet: try again in a moment", t.hostName(m.From))
			case !m.ToClean && (m.To == from || m.To == to):
				return refuse(CodeConflict, object, "host %s has not tidied up after the last move yet: try again in a moment", t.hostName(m.To))
			}
		}
	}
	return nil
}

func (c MoveVolume) decide(t *txn) *Refusal {
	object := "volume " + c.Volume
	v, ok := t.volumes.get(c.Volume)
	switch {
	case !ok:
		return refuse(CodeNotFound, object, "no host has said that it has it: list volumes with `rexctl volume ls`")
	case isHost(t.by):
		return refuse(CodeFenced, object, "%s cannot move it", t.by)
	case len(c.Why) > maxReason:
		return refuse(CodeInvalid, object, "the reason has %d bytes, %d are the most", len(c.Why), maxReason)
	}
	if j := t.jailOfVolume(c.Volume); j != nil {
		return refuse(CodeConflict, object, "belongs to jail %s: `rexctl jail move %s --to HOST` moves the two together", j.Spec.Name, j.Spec.Name)
	}
	if m := t.activeMove(c.Volume); m != nil && m.To == c.To {
		return nil
	}
	if r := t.mayMove(object, v.Host, c.To, []string{c.Volume}); r != nil {
		return r
	}
	t.forgetMoves(c.Volume)
	t.emit(MoveChanged{&Move{
		ID: t.s.Index, Volumes: []string{c.Volume}, From: v.Host, To: c.To, Phase: MoveAsked, By: t.by, Reason: c.Why, AskedAt: t.s.Now,
	}})
	return nil
}

// jailOfVolume is the jail that declares a volume, nil if none does.
func (t *txn) jailOfVolume(id string) *Jail {
	parts := strings.Split(id, ".")
	if len(parts) != 3 {
		return nil
	}
	j, ok := t.jails.get(parts[1])
	if !ok {
		return nil
	}
	if ids, _ := j.Volumes(); !slices.Contains(ids, id) {
		return nil
	}
	return j
}

func (c CancelMove) decide(t *txn) *Refusal {
	m := t.activeMove(c.Object)
	object := "move of " + c.Object
	switch {
	case isHost(t.by):
		return refuse(CodeFenced, object, "%s cannot cancel it", t.by)
	case m == nil:
		return refuse(CodeNotFound, object, "there is none that goes on")
	case m.Phase != MoveAsked:
		return refuse(CodeConflict, object, "is %s: it is too late to cancel it, the jail is about to start on host %s", m.Phase, t.hostName(m.To))
	}
	t.failMove(m, "cancelled by "+t.by)
	return nil
}

func (c ReportVolume) decide(t *txn) *Refusal {
	object := "volume " + c.Volume
	switch _, known := t.hosts.get(string(c.Host)); {
	case !validVolume(c.Volume):
		return refuse(CodeInvalid, "volume", "the id %.80q is not 1 to 128 of a-z, 0-9, '.', '_' and '-'", c.Volume)
	case !known:
		return refuse(CodeNotFound, "host "+string(c.Host), "is not known: it must register first")
	case !speaksFor(t.by, c.Host):
		return refuse(CodeFenced, object, "%s cannot say what host %s holds", t.by, c.Host)
	}
	v, ok := t.volumes.get(c.Volume)
	switch {
	case c.Gone && ok && v.Host == c.Host:
		if m := t.activeMove(c.Volume); m != nil {
			return refuse(CodeConflict, object, "is on its way to host %s", t.hostName(m.To))
		}
		t.forgetMoves(c.Volume)
		t.emit(VolumeGone{c.Volume, c.Host})
	case c.Gone, ok: // it has its home: a copy elsewhere changes nothing
	default:
		if j := t.jailOfVolume(c.Volume); j != nil {
			if r, ran := t.runs.get(j.Spec.Name); ran && r.Host != c.Host {
				return nil // what its jail has is where that ran last
			}
		}
		t.emit(VolumeHomed{&Volume{ID: c.Volume, Host: c.Host, Since: t.s.Now}})
	}
	return nil
}

func validVolume(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, r := range id {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)) {
			return false
		}
	}
	return true
}
