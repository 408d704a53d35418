package sim

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// errLost says that a proposal may or may not have been committed.
var errLost = errors.New("no leader, or it was lost on the way")

// proposal is a command on its way into the log.
type proposal struct {
	entry fsm.Entry
	done  func(error)
	term  int
}

// fold commits one entry now.
func (w *World) fold(by string, cmd fsm.Command) error {
	return w.commit(fsm.Entry{V: fsm.Version, ID: "sim-" + strconv.Itoa(len(w.entries)), At: start.Add(w.now), By: by, Cmd: cmd})
}

func (w *World) commit(e fsm.Entry) error {
	raw, err := fsm.Encode(e)
	if err != nil {
		return err
	}
	next, _, err := fsm.Apply(w.State(), uint64(len(w.entries)+1), e, raw)
	w.entries, w.states = append(w.entries, e), append(w.states, next)
	if err != nil {
		w.tell("%d %s by %s: %v", len(w.entries), e.Cmd.Kind(), e.By, err)
	} else {
		w.tell("%d %s by %s: %s", len(w.entries), e.Cmd.Kind(), e.By, brief(e.Cmd))
	}
	return err
}

// reaches says whether a message gets from a to b.
func (w *World) reaches(a, b *host) bool {
	return a.up && b.up && a.daemon && b.daemon && a.side == b.side
}

func (w *World) quorum(h *host) bool {
	n := 0
	for _, v := range w.hosts[:w.voters()] {
		if v == h || w.reaches(h, v) {
			n++
		}
	}
	return h.up && h.daemon && n > w.voters()/2
}

// propose carries cmd from h to the leader and commits it there. done is called
// once: with nil, with the refusal, or with errLost.
func (w *World) propose(h *host, by string, cmd fsm.Command, done func(error)) {
	w.after(w.between(time.Millisecond, 5*time.Millisecond), func() {
		l := w.leader
		if l == nil || l != h && !w.reaches(h, l) {
			w.after(50*time.Millisecond, func() { done(errLost) })
			return
		}
		p := &proposal{term: w.term, done: done, entry: fsm.Entry{V: fsm.Version, At: l.clock(), By: by, Cmd: cmd}}
		w.pending = append(w.pending, p)
		w.after(w.between(2*time.Millisecond, 8*time.Millisecond), w.replicate)
	})
}

// replicate commits what the leader has, once a quorum has it too.
func (w *World) replicate() {
	if w.leader == nil || !w.quorum(w.leader) {
		return
	}
	for _, p := range w.pending {
		p.entry.ID = "sim-" + strconv.Itoa(len(w.entries))
		err := w.commit(p.entry)
		w.after(w.between(time.Millisecond, 3*time.Millisecond), func() { p.done(err) })
	}
	w.pending = nil
	w.deliver()
}

// deliver sends what is committed to every host that the leader reaches.
func (w *World) deliver() {
	at, sent := len(w.entries), w.now
	for _, h := range w.hosts {
		if h == w.leader {
			h.seen = sent
			h.hear(at, sent)
			continue
		}
		if w.reaches(w.leader, h) {
			h.seen = sent
			life := h.life
			w.after(w.between(time.Millisecond, h.lag), func() {
				if h.life == life { // what is on the wire arrives, cut off or not
					h.hear(at, sent)
				}
			})
		}
	}
}

const (
	heartbeat = 100 * time.Millisecond
	lease     = 500 * time.Millisecond // a leader without quorum steps down after it
)

// tick is the heartbeat: elections, contact, duties, agents.
func (w *World) tick() {
	w.elect()
	if w.leader != nil && w.quorum(w.leader) {
		w.replicate()
		w.deliver()
		w.duties()
	}
	for _, h := range w.hosts {
		h.look()
		h.live()
	}
	w.after(heartbeat, w.tick)
}

// elect deposes a leader that is gone and finds a new one. What the old one had
// not committed may have reached some: a prefix of it survives.
func (w *World) elect() {
	if l := w.leader; l != nil {
		if w.quorum(l) {
			w.lonely = 0
			return
		}
		if w.lonely == 0 {
			w.lonely = w.now
		}
		if l.up && l.daemon && w.now-w.lonely < lease {
			return
		}
		w.tell("leader %s is gone", l.id)
		w.leader, w.lonely, w.vacant = nil, 0, w.now
		w.term++
	}
	if w.now-w.vacant < w.between(300*time.Millisecond, 1500*time.Millisecond) {
		return
	}
	var can []*host
	for _, v := range w.hosts[:w.voters()] {
		if w.quorum(v) {
			can = append(can, v)
		}
	}
	if len(can) == 0 {
		return
	}
	w.leader = can[w.rng.IntN(len(can))]
	w.term++
	survive := w.rng.IntN(len(w.pending) + 1)
	lost := slices.Clone(w.pending[survive:])
	w.pending = w.pending[:survive]
	w.tell("leader %s, %d entries of the old one survive, %d are lost", w.leader.id, survive, len(lost))
	for _, p := range lost {
		p.done(errLost)
	}
	// Who waits for those that survive hears of it late, or never: it asks again.
	for _, p := range w.pending {
		done := p.done
		p.done = func(error) { done(errLost) }
	}
	w.leader.busy, w.leads = false, w.now
	for _, h := range w.hosts {
		h.fenced = 0
	}
}
