package fsm

import "slices"

func (c MoveStep) decide(t *txn) *Refusal {
	object := "move of " + c.Object
	m, ok := t.moves.get(moveKey(c.Object, c.ID))
	switch {
	case !ok:
		return refuse(CodeNotFound, object, "there is no move %d of it", c.ID)
	case !speaksFor(t.by, c.Host) || c.Host != m.From && c.Host != m.To:
		return refuse(CodeFenced, object, "is between hosts %s and %s: %s does not take part in it as %s", m.From, m.To, t.by, c.Host)
	case c.Host != m.To && (c.Did == DidCopy || c.Did == DidReady):
		return refuse(CodeFenced, object, "only host %s can say that it is there", m.To)
	case c.Bytes < 0 || len(c.Why) > maxReason:
		return refuse(CodeInvalid, object, "%d bytes, and %d bytes of reason", c.Bytes, len(c.Why))
	}
	switch c.Did {
	case DidCopy:
		return t.moveCopied(m, c.Bytes)
	case DidReady:
		return t.moveReady(m, c.Bytes)
	case DidFail:
		if m.Active() && m.Phase != MovePlaced {
			t.failMove(m, c.Why)
		}
		return nil
	case DidClean:
		return t.moveClean(m, c.Host)
	}
	return refuse(CodeInvalid, object, "a host cannot have %.40q", c.Did)
}

// moveCopied asks the jail to stop, now that only the rest must come.
func (t *txn) moveCopied(m *Move, bytes int64) *Refusal {
	switch {
	case m.Phase == MoveFailed:
		return t.gaveUp(m)
	case m.Phase != MoveAsked:
		return nil
	case m.Jail == "":
		return refuse(CodeInvalid, "move of "+m.Object(), "a volume without a jail is ready when it is copied")
	}
	now := *m
	now.Bytes += bytes
	if why := t.moveHindered(&now); why != "" {
		t.failMove(&now, why)
		return nil
	}
	now.CopiedAt = t.s.Now
	r, live := t.liveRun(m.Jail)
	if !live {
		now.Phase, now.StoppedAt = MoveStopped, t.s.Now
		t.emit(MoveChanged{&now})
		return nil
	}
	now.Phase, now.Seq = MoveCopied, r.Seq
	t.emit(MoveChanged{&now})
	t.stop(r, "moves to host "+t.hostName(m.To))
	return nil
}

// moveHindered says why the jail cannot be placed on the target; "" if it can.
func (t *txn) moveHindered(m *Move) string {
	j, ok := t.jails.get(string(m.Jail))
	if !ok {
		return "the jail was removed"
	}
	if ids, _ := j.Volumes(); !slices.Equal(ids, m.Volumes) {
		return "its volumes were declared anew meanwhile: move it again"
	}
	if j.Want != WantRunning {
		return ""
	}
	if r := t.hostTakes("jail "+string(m.Jail), m.To, Demand(&j.Spec)); r != nil {
		return r.Text
	}
	return ""
}

// moveReady makes the target the home of the volumes, and places the jail that
// was stopped for it there in the same entry: there is no moment in which they disagree.
func (t *txn) moveReady(m *Move, bytes int64) *Refusal {
	alone := m.Jail == ""
	switch {
	case m.Phase == MoveFailed:
		return t.gaveUp(m)
	case m.Phase != MoveStopped && !(alone && m.Phase == MoveAsked):
		if m.Phase == MovePlaced || m.Phase == MoveDone {
			return nil
		}
		return refuse(CodeConflict, "move of "+m.Object(), "is %s: the jail has not stopped yet", m.Phase)
	}
	now := *m
	now.Bytes += bytes
	if !alone {
		if why := t.moveHindered(&now); why != "" {
			t.failMove(&now, why)
			return nil
		}
	}
	for _, id := range m.Volumes {
		t.emit(VolumeHomed{&Volume{ID: id, Host: m.To, Since: t.s.Now}})
	}
	now.PlacedAt = t.s.Now
	j, _ := t.jails.get(string(m.Jail))
	if alone || now.Seq == 0 || j.Want != WantRunning { // what did not run starts, or not, by its own rules
		t.endMove(&now, "")
		return nil
	}
	now.Phase = MovePlaced
	t.emit(MoveChanged{&now})
	why := "moved from host " + t.hostName(m.From)
	if m.Reason != "" {
		why += ": " + m.Reason
	}
	t.emit(JailPlaced{t.nextRun(j, m.To, why)})
	return nil
}

// nextRun is j's next Run, on a host that takes it. It was not the jail's
// fault that the one before it ended.
func (t *txn) nextRun(j *Jail, h HostID, why string) *Run {
	run := &Run{
		Jail: JailName(j.Spec.Name), Host: h, Seq: j.SeqBase + 1, Phase: Placed, Health: HealthUnknown, Hash: j.Hash, Restart: j.Restart,
		Image: j.Spec.ImageKey, Res: Demand(&j.Spec), Why: why, PlacedAt: t.s.Now,
	}
	if last, ran := t.runs.get(j.Spec.Name); ran {
		run.Seq, run.Total = last.Seq+1, last.Total
	}
	return run
}

func (t *txn) moveClean(m *Move, h HostID) *Refusal {
	now := *m
	switch {
	case m.Active():
		return refuse(CodeConflict, "move of "+m.Object(), "is %s: it has not ended", m.Phase)
	case h == m.From:
		now.FromClean = true
	default:
		now.ToClean = true
	}
	if now.FromClean == m.FromClean && now.ToClean == m.ToClean {
		return nil
	}
	t.emit(MoveCleaned{&now, h})
	if m.Jail != "" {
		if _, there := t.jails.get(string(m.Jail)); !there {
			t.forgetMoves(string(m.Jail))
		}
	}
	return nil
}

func (t *txn) gaveUp(m *Move) *Refusal {
	return refuse(CodeConflict, "move of "+m.Object(), "was given up: %s", m.Error)
}
