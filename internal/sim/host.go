package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent"
)

// host is one machine: what its daemon knows, what is in its host.db, and what
// really runs on it.
type host struct {
	w  *World
	id fsm.HostID

	up     bool // the machine
	daemon bool // rexcarcer on it
	life   int  // of the daemon: what an earlier one began is forgotten
	side   int  // of the network: hosts of different sides do not hear each other
	lag    time.Duration
	skew   time.Duration // of its wall clock

	applied int
	heard   time.Duration // when what it last heard of a leader with a quorum was sent
	seen    time.Duration // when a leader last sent to it
	steady  int           // heartbeats in a row since it was silent
	fenced  time.Duration // when the newest leader has waited for it; 0: this leader does not know yet
	busy    bool          // leader: proposals of its duties are on their way

	rows  []*row           // host.db, by uuid
	procs map[string]*proc // what runs, by the jail's uuid
	vol   volumes
}

// row is what host.db knows of a jail.
type row struct {
	uuid string
	name fsm.JailName
	have hostagent.Have
	lost bool // its process went with the machine

	fence   bool   // it must not run where no leader is heard
	over    uint64 // 0, or the Run whose end was reported and must be read back
	working bool   // a step is being done
	telling *fsm.ReportRun
}

// proc is a first process.
type proc struct {
	seq     uint64
	fence   bool
	volumes []string // ids
}

func (w *World) addHost(i int) {
	h := &host{w: w, id: fsm.HostID(fmt.Sprintf("h%d", i+1)), up: true, daemon: true, lag: 10 * time.Millisecond, procs: map[string]*proc{}, vol: newVolumes()}
	w.hosts = append(w.hosts, h)
	_ = w.fold("host/"+string(h.id), fsm.RegisterHost{Host: fsm.Host{
		ID: h.id, Name: string(h.id), Role: fsm.RoleServer, OS: "linux", Arch: "amd64", Runtime: "sim", Version: "1",
		Capacity: fsm.Resources{MilliCPU: 16_000, MemoryBytes: 64 << 30},
	}}) // the trace has it if it is refused
	h.applied = len(w.entries)
}

func (h *host) clock() fsm.Time   { return start.Add(h.w.now + h.skew) }
func (h *host) state() *fsm.State { return h.w.states[h.applied] }

// hear is what a follower does with what the leader sent at some time: its
// whole log, so what was sent is applied when it is heard.
func (h *host) hear(at int, sent time.Duration) {
	h.heard = max(h.heard, sent)
	if at > h.applied {
		h.applied = at
		h.look()
	}
}

// cutOff says that no leader was heard for as long as the fence allows.
func (h *host) cutOff() bool { return h.w.now-h.heard >= h.w.o.Fence }

// look is one pass of the agent over all of its jails.
func (h *host) look() {
	if !h.up || !h.daemon {
		return
	}
	s := h.state()
	for _, r := range s.RunsOn(h.id) {
		if j, ok := s.Jails.Get(string(r.Jail)); ok && h.row(j.UUID) == nil {
			h.rows = append(h.rows, &row{uuid: j.UUID, name: r.Jail, fence: !j.Spec.NoFence})
			slices.SortFunc(h.rows, func(a, b *row) int { return cmpText(a.uuid, b.uuid) })
		}
	}
	for _, r := range slices.Clone(h.rows) {
		if !r.working {
			h.pass(s, r)
		}
	}
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (h *host) row(uuid string) *row {
	for _, r := range h.rows {
		if r.uuid == uuid {
			return r
		}
	}
	return nil
}

// pass does the one next step for a jail, as hostagent's worker does.
func (h *host) pass(s *fsm.State, r *row) {
	want := hostagent.WantOf(s, h.id, r.name, r.uuid)
	r.have.Alive = h.procs[r.uuid] != nil
	if h.cutOff() {
		if r.have.Alive && r.fence {
			h.work(r, h.w.between(time.Millisecond, h.w.o.Stop/2), func() { h.end(r, "fenced") })
		}
		return
	}
	if r.over != 0 {
		if want.Run != nil && want.Run.Seq == r.over {
			return
		}
		r.have.Seq, r.have.Stage, r.over = 0, hostagent.StageNone, 0
	}
	switch step := hostagent.Next(want, r.have); step {
	case hostagent.StepStart:
		h.start(r, want)
	case hostagent.StepUpdate:
		r.have.Spec = want.Jail.SpecIndex
	case hostagent.StepStop:
		h.work(r, h.w.between(time.Millisecond, h.w.o.Stop/2), func() { h.end(r, "stopped") })
	case hostagent.StepClean:
		h.clean(r, want)
	case hostagent.StepLost:
		h.tellRun(r, fsm.ReportRun{Seq: want.Run.Seq, Phase: fsm.Lost, Reason: "the host went down while it ran"})
		r.over = want.Run.Seq
	case hostagent.StepDestroy:
		r.have.Root = ""
	case hostagent.StepForget:
		h.rows = slices.DeleteFunc(h.rows, func(x *row) bool { return x == r })
	case hostagent.StepNone:
		if run := want.Run; run != nil && r.have.Alive && r.telling == nil && (run.Phase < fsm.Running || run.Health != fsm.HealthHealthy) {
			h.tellRun(r, fsm.ReportRun{Seq: run.Seq, Phase: fsm.Running, Health: fsm.HealthHealthy})
		}
	}
}

// work does something for a row after d, unless the daemon ends before.
func (h *host) work(r *row, d time.Duration, do func()) {
	r.working = true
	life := h.life
	h.w.after(d, func() {
		if h.life != life {
			return
		}
		r.working = false
		do()
		h.look()
	})
}

// start makes a Run real: the process appears some time before the daemon knows.
func (h *host) start(r *row, want hostagent.Want) {
	run, fence := want.Run.Seq, !want.Jail.Spec.NoFence
	index := want.Jail.SpecIndex
	ids, _ := want.Jail.Volumes()
	r.have.Seq, r.have.Stage, r.have.Root = run, hostagent.StageMaking, want.Run.Image
	r.fence, r.lost = fence, false
	half := h.w.between(5*time.Millisecond, 100*time.Millisecond)
	r.working = true
	life := h.life
	h.w.after(half, func() {
		if h.life != life || !h.up {
			return
		}
		if h.cutOff() && fence { // the agent looks once more before the process starts
			r.working = false
			return
		}
		p := &proc{run, fence, ids}
		h.procs[r.uuid] = p
		h.w.mounts(h, p)
		h.w.tell("%s: %s run %d runs", h.id, r.name, run)
		h.work(r, half, func() { r.have.Stage, r.have.Spec = hostagent.StageRunning, index })
	})
}

func (h *host) end(r *row, how string) {
	if h.procs[r.uuid] != nil {
		h.w.tell("%s: %s run %d ends: %s", h.id, r.name, h.procs[r.uuid].seq, how)
	}
	delete(h.procs, r.uuid)
	r.have.Alive = false
	if r.have.Stage == hostagent.StageRunning {
		r.have.Stage = hostagent.StageEnded
	}
}

func (h *host) clean(r *row, want hostagent.Want) {
	seq := r.have.Seq
	if seq == 0 { // stopped before it was begun
		h.tellRun(r, fsm.ReportRun{Seq: want.Run.Seq, Phase: fsm.Stopped, Reason: "stopped before it was started"})
		r.over = want.Run.Seq
		return
	}
	r.have.Stage = hostagent.StageEnded
	if want.Run == nil || want.Run.Seq != seq {
		r.have.Seq, r.have.Stage = 0, hostagent.StageNone
		return
	}
	end := fsm.ReportRun{Seq: seq, Phase: fsm.Stopped, Exit: &fsm.Exit{Known: true}, Reason: want.Run.StopWhy}
	if !want.Stop {
		end.Phase, end.Reason, end.Exit = fsm.Lost, "it ended while nobody watched", nil
	}
	h.tellRun(r, end)
	r.over = seq
}

// tellRun reports, again and again until the log has an answer.
func (h *host) tellRun(r *row, c fsm.ReportRun) {
	c.Jail, c.Host = r.name, h.id
	r.telling = &c
	h.send(r, &c)
}

func (h *host) send(r *row, c *fsm.ReportRun) {
	life := h.life
	h.w.propose(h, "host/"+string(h.id), *c, func(err error) {
		if h.life != life || r.telling != c {
			return
		}
		if errors.Is(err, errLost) {
			h.w.after(h.w.between(50*time.Millisecond, 300*time.Millisecond), func() {
				if h.life == life && r.telling == c {
					h.send(r, c)
				}
			})
			return
		}
		r.telling = nil
	})
}
