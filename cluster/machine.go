package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// machine is the raft FSM: it feeds fsm.ApplyAll and publishes what comes out.
type machine struct {
	current atomic.Pointer[fsm.State]
	archive *archive
	fatal   func(error)
	metrics *metrics
	clock   func() time.Time

	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed and replaced at each publish
	recent  ring          // guarded by mu
}

var _ raft.BatchingFSM = (*machine)(nil)

func newMachine(a *archive, fatal func(error), m *metrics, clock func() time.Time) *machine {
	ma := &machine{archive: a, fatal: fatal, metrics: m, clock: clock, changed: make(chan struct{})}
	ma.current.Store(fsm.New())
	return ma
}

func (m *machine) state() *fsm.State { return m.current.Load() }

func (m *machine) watch() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Apply implements raft.FSM; raft calls ApplyBatch instead.
func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch folds committed entries in order: one transaction, one publish.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	start := m.clock()
	out := make([]any, len(logs))
	items := make([]fsm.Item, 0, len(logs))
	at := make([]int, 0, len(logs))
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue // a configuration change: raft's own business
		}
		e, err := fsm.Decode(l.Data)
		if err != nil {
			// Skipping a committed entry that others understood would make
			// this replica differ from them in silence.
			m.fatal(fmt.Errorf("entry %d of the log: %w: this program is too old for the cluster, or the log is damaged", l.Index, err))
			return refuseAll(out, err) // nothing after it may be folded either
		}
		items = append(items, fsm.Item{Index: l.Index, Entry: e, Raw: l.Data})
		at = append(at, i)
	}
	if len(items) == 0 {
		return out
	}
	next, events, errs := fsm.ApplyAll(m.state(), items)
	for k, i := range at {
		out[i] = outcome{events: events[k], err: errs[k]}
	}
	m.publish(next, events)
	m.metrics.batch.Observe(float64(len(items)))
	m.metrics.apply.Observe(m.clock().Sub(start).Seconds())
	return out
}

// refuseAll gives every entry of a batch that cannot be folded the same outcome.
func refuseAll(out []any, err error) []any {
	for i := range out {
		out[i] = outcome{err: err}
	}
	return out
}

func (m *machine) publish(next *fsm.State, events [][]fsm.Happened) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, es := range events {
		m.recent.add(es)
	}
	m.current.Store(next)
	m.metrics.index.Set(float64(next.Index))
	close(m.changed)
	m.changed = make(chan struct{})
}

// Snapshot implements raft.FSM. A State is immutable, so the pointer is the snapshot.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	return &snapshot{state: m.state(), archive: m.archive}, nil
}

// Restore implements raft.FSM: the new State is built aside and then swapped
// in, so readers never see a mix and a damaged stream changes nothing.
func (m *machine) Restore(r io.ReadCloser) (err error) {
	defer func() { err = errors.Join(err, r.Close()) }()
	next, err := fsm.Read(r)
	if err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	m.mu.Lock()
	m.recent = ring{floor: next.Index}
	m.mu.Unlock()
	m.publish(next, nil)
	return nil
}

type snapshot struct {
	state   *fsm.State
	archive *archive
}

// Persist archives the entries first: as soon as it returns raft may forget them.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	err := s.archive.catchUp(s.state)
	if err == nil {
		err = fsm.Write(sink, s.state)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("persist snapshot at %d: %w", s.state.Index, err), sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot; there is nothing to give back.
func (s *snapshot) Release() {}

// ring keeps the newest events, so that following them reads no file.
type ring struct {
	floor uint64 // events at or below this index may be missing
	buf   []fsm.Happened
}

const ringSize = 8192

func (r *ring) add(es []fsm.Happened) {
	r.buf = append(r.buf, es...)
	if over := len(r.buf) - 2*ringSize; over > 0 {
		cut := len(r.buf) - ringSize
		// Never split the events of one index.
		for cut < len(r.buf) && r.buf[cut].Index == r.buf[cut-1].Index {
			cut++
		}
		r.floor = r.buf[cut-1].Index
		r.buf = append([]fsm.Happened(nil), r.buf[cut:]...)
	}
}

// since returns the events above index, and false if some of them are gone.
func (r *ring) since(index uint64) ([]fsm.Happened, bool) {
	if index < r.floor {
		return nil, false
	}
	lo, hi := 0, len(r.buf)
	for lo < hi {
		if mid := (lo + hi) / 2; r.buf[mid].Index > index {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return r.buf[lo:len(r.buf):len(r.buf)], true
}
