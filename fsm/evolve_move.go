package fsm

// What Moves follow from other things that happen, and what follows from them.
// All of it costs a look when there are no Moves.

func (t *txn) hostName(id HostID) string {
	if h, ok := t.hosts.get(string(id)); ok {
		return h.Name
	}
	return string(id)
}

func (t *txn) movesOf(object string) (all []*Move) {
	if t.moves.n == 0 {
		return nil
	}
	t.moves.each(object+"/", func(_ string, m *Move) bool {
		all = append(all, m)
		return true
	})
	return all
}

func (t *txn) activeMove(object string) *Move {
	for _, m := range t.movesOf(object) {
		if m.Active() {
			return m
		}
	}
	return nil
}

func (t *txn) failMove(m *Move, why string) {
	now := *m
	now.Phase, now.Error, now.EndedAt = MoveFailed, why, t.s.Now
	t.emit(MoveChanged{&now})
}

// endMove: it is done. trouble is what went wrong after the volumes were there.
func (t *txn) endMove(m *Move, trouble string) {
	now := *m
	now.Phase, now.Error, now.EndedAt = MoveDone, trouble, t.s.Now
	if r, live := t.liveRun(m.Jail); live && m.Seq != 0 && r.Phase == Running {
		now.Down = t.s.Now.Sub(m.CopiedAt)
	}
	t.emit(MoveChanged{&now})
}

// forgetMoves drops what ended and is tidied up.
func (t *txn) forgetMoves(object string) {
	for _, m := range t.movesOf(object) {
		if !m.Active() && m.FromClean && m.ToClean {
			t.emit(MoveForgotten{object, m.ID})
		}
	}
}

// moveRan ends a Move whose jail runs at the target.
func (t *txn) moveRan(r *Run) {
	if m := t.activeMove(string(r.Jail)); m != nil && m.Phase == MovePlaced && r.Host == m.To {
		t.endMove(m, "")
	}
}

// moveRunOver takes a Move on when a Run of its jail is over.
func (t *txn) moveRunOver(name JailName) {
	m := t.activeMove(string(name))
	if m == nil {
		return
	}
	switch m.Phase {
	case MoveCopied:
		now := *m
		now.Phase, now.StoppedAt = MoveStopped, t.s.Now
		t.emit(MoveChanged{&now})
	case MovePlaced:
		trouble := "the run there ended before it ran"
		if r, ok := t.runs.get(string(name)); ok && r.Reason != "" {
			trouble += ": " + r.Reason
		}
		t.endMove(m, trouble)
	}
}

// moveGone ends what goes on of a jail that is dropped.
func (t *txn) moveGone(name JailName) {
	if m := t.activeMove(string(name)); m != nil {
		if m.Phase == MovePlaced {
			t.endMove(m, "the jail was removed")
		} else {
			t.failMove(m, "the jail was removed")
		}
	}
	t.forgetMoves(string(name))
}

// moveHolds says why a jail may not start on a host now; nil if it may.
func (t *txn) moveHolds(j *Jail, h HostID) *Refusal {
	if t.moves.n == 0 {
		return nil
	}
	object := "jail " + j.Spec.Name
	ids, _ := j.Volumes()
	for _, o := range append(ids, j.Spec.Name) {
		for _, m := range t.movesOf(o) {
			switch {
			case m.Phase == MoveAsked && m.Jail != "" && h == m.From, m.Phase == MovePlaced && h == m.To:
			case m.Active():
				return refuse(CodeConflict, object, "the move of %s from host %s to host %s goes on (%s)", m, t.hostName(m.From), t.hostName(m.To), m.Phase)
			case m.Phase == MoveFailed && !m.ToClean && h == m.To, m.Phase == MoveDone && !m.FromClean && h == m.From:
				return refuse(CodeConflict, object, "host %s has not tidied up after a move yet", t.hostName(h))
			}
		}
	}
	return nil
}

// failMoves gives up what cannot go on without a host, before its Runs end.
// It walks over all Moves: hosts are lost seldom.
func (t *txn) failMoves(h *Host, why string) {
	if t.moves.n == 0 {
		return
	}
	var hit []*Move
	t.moves.each("", func(_ string, m *Move) bool {
		if m.Active() && m.Phase != MovePlaced && (m.From == h.ID || m.To == h.ID) {
			hit = append(hit, m)
		}
		return true
	})
	for _, m := range hit {
		t.failMove(m, why)
	}
}

// moveHostRemoved: a host that never comes back has nothing to tidy up, and
// its volumes are lost with it.
func (t *txn) moveHostRemoved(h HostID) {
	var dirty []*Move
	t.moves.each("", func(_ string, m *Move) bool {
		if !m.Active() && (m.From == h && !m.FromClean || m.To == h && !m.ToClean) {
			dirty = append(dirty, m)
		}
		return true
	})
	for _, m := range dirty {
		now := *m
		now.FromClean, now.ToClean = m.FromClean || m.From == h, m.ToClean || m.To == h
		t.emit(MoveCleaned{&now, h})
	}
	var lost []*Volume
	t.volumes.each("", func(_ string, v *Volume) bool {
		if v.Host == h {
			lost = append(lost, v)
		}
		return true
	})
	for _, v := range lost {
		t.emit(VolumeGone{v.ID, h})
	}
}
