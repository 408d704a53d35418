package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// What volumes really hold, and moves of the jails that have them. A volume is a
// number, which its jail raises as it writes: what is on another host is a copy
// of some moment, and a jail that starts on an old one is caught.

// volumes of a host. Its disk has them, whatever becomes of the daemon.
type volumes struct {
	holds  map[string]int    // by id: what is in it
	claims map[string]uint64 // by id: the move that is bringing it here, from host.db
	busy   map[string]bool   // moves that the daemon is at work for, by key; volumes that it tells of
}

func newVolumes() volumes {
	return volumes{holds: map[string]int{}, claims: map[string]uint64{}, busy: map[string]bool{}}
}

// mounts is what a process that starts on h finds in its volumes: all that was
// ever written there.
func (w *World) mounts(h *host, p *proc) {
	for _, id := range p.volumes {
		if got, want := h.vol.holds[id], w.written[id]; got != want && w.broken == nil {
			w.broken = fmt.Errorf("run %d on %s starts with volume %s as it was at %d, and %d was written since", p.seq, h.id, id, got, want)
		}
		w.write(h, id)
	}
}

func (w *World) write(h *host, id string) {
	w.written[id]++
	h.vol.holds[id] = w.written[id]
}

// live lets what runs on h write, and the daemon do its part of moves.
func (h *host) live() {
	for _, r := range h.rows {
		p := h.procs[r.uuid]
		if p == nil || len(p.volumes) == 0 {
			continue
		}
		if h.w.one(3) {
			h.w.write(h, p.volumes[0])
		}
		if h.daemon {
			h.tellVolumes(p)
		}
	}
	if !h.up || !h.daemon {
		return
	}
	for key, m := range h.state().Moves.All {
		if !h.vol.busy[key] {
			h.step(key, m)
		}
	}
}

// tellVolumes says which volumes a jail has made here.
func (h *host) tellVolumes(p *proc) {
	for _, id := range p.volumes {
		if _, known := h.state().Volumes.Get(id); known || h.vol.busy[id] {
			continue
		}
		h.vol.busy[id] = true
		h.tellMove(id, fsm.ReportVolume{Volume: id, Host: h.id})
	}
}

// step is what hostagent's mover does next for m.
func (h *host) step(key string, m *fsm.Move) {
	switch {
	case m.Phase.Over() && (m.From == h.id && !m.FromClean || m.To == h.id && !m.ToClean):
		h.later(key, 50*time.Millisecond, func() { h.cleanMove(key, m) })
	case m.To == h.id && m.Phase == fsm.MoveAsked:
		h.later(key, 2*time.Second, func() { h.fetchMove(key, m, fsm.DidCopy) })
	case m.To == h.id && m.Phase == fsm.MoveStopped:
		h.later(key, time.Second, func() { h.fetchMove(key, m, fsm.DidReady) })
	}
}

// later does something for a move after a while, unless the daemon ends before.
func (h *host) later(key string, most time.Duration, do func()) {
	h.vol.busy[key] = true
	life := h.life
	h.w.after(h.w.between(5*time.Millisecond, most), func() {
		if h.life == life && h.up {
			delete(h.vol.busy, key)
			do()
		}
	})
}

// tellMove reports; what gets lost is told again at the next look.
func (h *host) tellMove(key string, c fsm.Command) {
	h.vol.busy[key] = true
	life := h.life
	h.w.propose(h, "host/"+string(h.id), c, func(error) {
		if h.life == life {
			delete(h.vol.busy, key)
		}
	})
}

// fetchMove brings the volumes of m as they are at the source now.
func (h *host) fetchMove(key string, m *fsm.Move, did fsm.MoveDid) {
	if now, ok := h.state().Moves.Get(key); !ok || now.Phase != m.Phase {
		return // it has moved on: the copy is given up
	}
	from := h.w.host(m.From)
	if !h.w.reaches(h, from) {
		return
	}
	step := fsm.MoveStep{Object: m.Object(), ID: m.ID, Host: h.id, Did: did}
	if h.w.one(12) {
		step.Did, step.Why = fsm.DidFail, "no space left"
		h.tellMove(key, step)
		return
	}
	for _, id := range m.Volumes {
		if _, has := h.vol.holds[id]; has && h.vol.claims[id] != m.ID {
			step.Did, step.Why = fsm.DidFail, "this host has a volume of that name"
			break
		}
		h.vol.claims[id] = m.ID
		if n, made := from.vol.holds[id]; made {
			h.vol.holds[id] = n
		}
	}
	h.tellMove(key, step)
}

// cleanMove removes what an ended move has left here that is at home elsewhere.
func (h *host) cleanMove(key string, m *fsm.Move) {
	s := h.state()
	live := s.LiveRun(m.Jail)
	for _, id := range m.Volumes {
		v, homed := s.Volumes.Get(id)
		home := homed && v.Host == h.id || live != nil && live.Host == h.id
		old := m.From == h.id && m.Phase == fsm.MoveDone
		vain := m.To == h.id && m.Phase == fsm.MoveFailed && h.vol.claims[id] == m.ID
		if !home && (old || vain) {
			delete(h.vol.holds, id)
		}
	}
	if m.From == h.id && m.Phase == fsm.MoveDone && (live == nil || live.Host != h.id) {
		for _, r := range h.rows {
			if r.name == m.Jail && r.have.Root != "" {
				return // its root goes first
			}
		}
	}
	for id, owner := range h.vol.claims {
		if m.To == h.id && owner == m.ID {
			delete(h.vol.claims, id)
		}
	}
	h.tellMove(key, fsm.MoveStep{Object: m.Object(), ID: m.ID, Host: h.id, Did: fsm.DidClean})
}

func (w *World) host(id fsm.HostID) *host {
	for _, h := range w.hosts {
		if h.id == id {
			return h
		}
	}
	return nil
}

// Move asks that a jail goes to host i; Cancel gives such a move up.
func (w *World) Move(jail string, i int) {
	w.ask(fsm.MoveJail{Jail: fsm.JailName(jail), To: w.hosts[i].id, Why: "sim"})
}

// Cancel gives up the move of a jail, if that is still possible.
func (w *World) Cancel(jail string) { w.ask(fsm.CancelMove{Object: jail}) }

// ask proposes what a user asks for, once; whether it is refused is all the same.
func (w *World) ask(cmd fsm.Command) {
	if w.leader != nil {
		w.propose(w.leader, "user/sim", cmd, func(error) {})
	}
}

// restless moves some jail, or thinks better of it.
func (w *World) restless() {
	var names []string
	for name, j := range w.State().Jails.All {
		if len(j.Spec.Volumes) > 0 {
			names = append(names, name)
		}
	}
	jail := names[w.rng.IntN(len(names))]
	if w.one(5) {
		w.Cancel(jail)
		return
	}
	w.Move(jail, w.rng.IntN(len(w.hosts)))
}

// homed says what is wrong with volumes when all is calm: each is on one host,
// with all that was written, and no move has left anything behind.
func (w *World) homed() error {
	var wrong []error
	for id, n := range w.written {
		at := 0
		for _, h := range w.hosts {
			got, has := h.vol.holds[id]
			if has {
				at++
			}
			if has && got != n {
				wrong = append(wrong, fmt.Errorf("volume %s on %s is as it was at %d, and %d was written since", id, h.id, got, n))
			}
		}
		if at != 1 {
			wrong = append(wrong, fmt.Errorf("volume %s is on %d hosts", id, at))
		}
	}
	for _, m := range w.State().Moves.All {
		if m.Active() || !m.FromClean || !m.ToClean {
			wrong = append(wrong, fmt.Errorf("the move of %s from %s to %s is %s, tidied up: %v, %v", m.Object(), m.From, m.To, m.Phase, m.FromClean, m.ToClean))
		}
	}
	return errors.Join(wrong...)
}
