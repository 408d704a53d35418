package sim

import (
	"errors"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent"
)

// KillDaemon ends the daemon of host i as kill -9 does: its jails go on.
func (w *World) KillDaemon(i int) {
	h := w.hosts[i]
	if h.daemon {
		w.tell("%s: the daemon is killed", h.id)
		h.daemon = false
		h.life++
	}
}

// StartDaemon starts it again: it adopts what runs, from host.db. When it last
// heard a leader it knows from its run directory.
func (w *World) StartDaemon(i int) {
	h := w.hosts[i]
	if h.daemon || !h.up {
		return
	}
	w.tell("%s: the daemon starts", h.id)
	h.daemon, h.busy = true, false
	clear(h.vol.busy)
	h.life++
	for _, r := range h.rows {
		r.working, r.telling, r.over = false, nil, 0
		r.have.Spec = 0
		r.have.Alive = h.procs[r.uuid] != nil
		if r.have.Alive && r.have.Stage == hostagent.StageMaking && h.procs[r.uuid].seq == r.have.Seq {
			r.have.Stage = hostagent.StageRunning
		}
	}
}

// Crash takes power from host i: everything on it ends but its disk.
func (w *World) Crash(i int) {
	h := w.hosts[i]
	if !h.up {
		return
	}
	w.tell("%s: the machine goes down", h.id)
	h.up, h.daemon = false, false
	h.life++
	clear(h.procs)
	for _, r := range h.rows {
		r.lost = r.have.Stage == hostagent.StageRunning
	}
}

// Boot starts host i and its daemon.
func (w *World) Boot(i int) {
	if h := w.hosts[i]; !h.up {
		h.up = true
		w.StartDaemon(i)
	}
}

// Cut puts host i on a side of its own, or on that of others.
func (w *World) Cut(i, side int) {
	if h := w.hosts[i]; h.side != side {
		w.tell("%s: now on side %d of the network", h.id, side)
		h.side = side
	}
}

// Skew sets the wall clock of host i wrong by d.
func (w *World) Skew(i int, d time.Duration) {
	w.tell("%s: its clock is wrong by %s", w.hosts[i].id, d)
	w.hosts[i].skew = d
}

// Lag makes host i hear of entries so late.
func (w *World) Lag(i int, d time.Duration) {
	w.tell("%s: hears late, by up to %s", w.hosts[i].id, d)
	w.hosts[i].lag = d
}

// Die ends the process of some jail on host i, if one runs there.
func (w *World) Die(i int) {
	h := w.hosts[i]
	for _, r := range h.rows {
		if p := h.procs[r.uuid]; p != nil {
			w.tell("%s: the process of %s dies", h.id, r.name)
			delete(h.procs, r.uuid)
			return
		}
	}
}

// Drain asks that nothing runs on host i, or that it may again.
func (w *World) Drain(i int, on bool) {
	state := fsm.HostAlive
	if on {
		state = fsm.HostDraining
	}
	if w.leader != nil {
		w.propose(w.leader, "user/sim", fsm.MarkHost{Host: w.hosts[i].id, State: state, Why: "sim"}, func(error) {})
	}
}

// Trouble lets d pass with faults that the seed chooses. A daemon that is killed
// comes back soon, as init(8) or systemd see to it: while it is dead nobody can
// stop its jails, and the leader waits no longer than Stop for that.
func (w *World) Trouble(d time.Duration) error {
	for end := w.now + d; w.now < end; {
		w.fault()
		if err := w.Run(w.between(50*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) fault() {
	if w.o.Moves && w.one(4) {
		w.restless()
		return
	}
	i := w.rng.IntN(len(w.hosts))
	switch w.rng.IntN(14) {
	case 0:
		w.KillDaemon(i)
		w.after(w.between(10*time.Millisecond, w.o.Stop/4), func() { w.StartDaemon(i) })
	case 1, 2:
		w.Crash(i)
		w.after(w.between(100*time.Millisecond, 20*time.Second), func() { w.Boot(i) })
	case 3, 4, 5:
		w.Cut(i, 1+w.rng.IntN(2))
		w.after(w.between(100*time.Millisecond, 20*time.Second), func() { w.Cut(i, 0) })
	case 6:
		w.Lag(i, w.between(time.Millisecond, 3*time.Second))
	case 7:
		w.Skew(i, w.between(-time.Hour, time.Hour))
	case 8, 9:
		w.Die(i)
	case 10:
		w.Drain(i, w.one(2))
	default: // a quiet while
	}
}

// Calm ends all faults and waits until everything that is wished runs exactly
// once, at most for limit. It returns what is still wrong then.
func (w *World) Calm(limit time.Duration) error {
	w.tell("calm")
	for i, h := range w.hosts {
		w.Cut(i, 0)
		h.skew, h.lag = 0, 10*time.Millisecond
		w.Boot(i)
		w.StartDaemon(i)
	}
	if err := w.Run(5 * time.Second); err != nil {
		return err
	}
	for i := range w.hosts {
		w.Drain(i, false)
	}
	var err error
	for end := w.now + limit; w.now < end; {
		if err := w.Run(time.Second); err != nil {
			return err
		}
		if err = errors.Join(w.settled(), w.homed()); err == nil {
			return nil
		}
	}
	return err
}
