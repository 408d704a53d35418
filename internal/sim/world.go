package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Options of a World. Zero values get the defaults that are named.
type Options struct {
	Seed   uint64
	Hosts  int           // 5; the first three (or one) vote
	Fence  time.Duration // 5s: a host that hears no leader for so long stops what may start elsewhere
	Detect time.Duration // 3s: a host that is silent for so long is marked lost
	Stop   time.Duration // 1s: the longest that a daemon takes to come back and stop a jail
	Moves  bool          // users move jails and think better of it
	Wait   time.Duration // Fence+Stop: what the leader waits after it last heard a host that it calls lost
}

// start is the wall clock of every World at its beginning.
const start = fsm.Time(1_700_000_000 * int64(time.Second))

// World is a simulated cluster. It is not safe for concurrent use.
type World struct {
	o     Options
	rng   *rand.Rand
	now   time.Duration // since the beginning
	queue queue
	count uint64 // of events that were queued

	states  []*fsm.State // by log index
	entries []fsm.Entry  // states[i+1] is states[i] with entries[i]
	pending []*proposal  // the leader has them, nobody else does yet
	hosts   []*host
	leader  *host
	term    int
	lonely  time.Duration // since when the leader reaches no quorum; 0: it does
	vacant  time.Duration // since when there is none
	leads   time.Duration // since when this one leads

	written map[string]int // by volume: what its jail has written, wherever

	trace  []string
	broken error // the first law that did not hold
}

// event is something that happens at a time.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// New is a founded cluster of hosts that run nothing.
func New(o Options) *World {
	if o.Hosts == 0 {
		o.Hosts = 5
	}
	if o.Fence == 0 {
		o.Fence = 5 * time.Second
	}
	if o.Detect == 0 {
		o.Detect = 3 * time.Second
	}
	if o.Stop == 0 {
		o.Stop = time.Second
	}
	if o.Wait == 0 {
		o.Wait = o.Fence + o.Stop
	}
	w := &World{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x7265786361726365)), states: []*fsm.State{fsm.New()}, written: map[string]int{}}
	_ = w.fold("host/h1", fsm.Genesis{ClusterID: "cluster-sim", Domain: "rex.internal", CA: "PEM"}) // it is the first
	for i := range o.Hosts {
		w.addHost(i)
	}
	w.leader = w.hosts[0]
	w.tick()
	return w
}

// voters is how many of the hosts vote.
func (w *World) voters() int {
	if w.o.Hosts < 3 {
		return 1
	}
	return 3
}

// after queues do for d from now.
func (w *World) after(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.queue, event{w.now + d, w.count, do})
}

// between draws a duration.
func (w *World) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

// one says yes once in n times.
func (w *World) one(n int) bool { return w.rng.IntN(n) == 0 }

// Run lets d pass. It returns the first law that did not hold.
func (w *World) Run(d time.Duration) error {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end && w.broken == nil {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
		w.check()
	}
	w.now = end
	return w.broken
}

// Now is the time since the beginning.
func (w *World) Now() time.Duration { return w.now }

// State is the newest committed State.
func (w *World) State() *fsm.State { return w.states[len(w.states)-1] }

// Log is every committed entry, oldest first.
func (w *World) Log() []fsm.Entry { return w.entries }

// Trace is what happened last, for whoever must find out why.
func (w *World) Trace() []string { return w.trace }

const traced = 400

func (w *World) tell(format string, args ...any) {
	if len(w.trace) == traced {
		w.trace = append(w.trace[:0], w.trace[traced/2:]...)
	}
	w.trace = append(w.trace, fmt.Sprintf("%9.3fs ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

// Apply proposes a wish as a user would, and waits until it is committed.
func (w *World) Apply(wish spec.Wish) error { return w.user(fsm.ApplyWish{Wish: wish}) }

// Built lets every host have the image of that key.
func (w *World) Built(key string) {
	for _, h := range w.hosts {
		_ = w.fold("host/"+string(h.id), fsm.ReportBuild{Key: key, Host: h.id, Bytes: 1}) // the trace has it if it is refused
	}
}

// user proposes cmd at the host of whoever leads, until it is taken.
func (w *World) user(cmd fsm.Command) error {
	for range 600 {
		answer := errLost
		if w.leader != nil {
			w.propose(w.leader, "user/sim", cmd, func(err error) { answer = err })
		}
		if err := w.Run(100 * time.Millisecond); err != nil {
			return err
		}
		if answer != errLost { //nolint:errorlint // it is this very value
			return answer
		}
	}
	return fmt.Errorf("%s was not taken within a minute", cmd.Kind())
}
