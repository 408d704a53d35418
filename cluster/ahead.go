package cluster

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/cluster/raftlog"
)

// ahead lets a leader send entries while its own disk still works on them
// (Ongaro, Consensus: Bridging Theory and Practice, 10.2.1). raft takes what StoreLogs returned for
// durable here and counts it, so this must hold: no answer of a follower that
// stored entries reaches raft before they are durable here, too. What is
// committed then is on the disks of a majority, as if StoreLogs had waited.
//
// It only does so where
//
//   - the configuration has two voters or more: alone, a leader commits at once;
//   - the batch has no configuration and is not the first of a leadership: who
//     votes is known from there on;
//   - the transport is gated, below.
//
// A follower never runs ahead: its answer says that it has the entries. Where it
// has some from the time when it led, it waits for them before it compares.
type ahead struct {
	log  *raftlog.Log
	raft atomic.Pointer[raft.Raft] // nil until NewRaft has returned
	fail func(error)               // ends the process

	mu     sync.Mutex
	epoch  uint64 // guarded by mu; another one where what was known may be no longer so
	voters int    // guarded by mu; of the newest configuration, 0: not known
}

func (a *ahead) leads() bool {
	r := a.raft.Load()
	return r != nil && r.State() == raft.Leader
}

// store is StoreLogs. raft calls it from its main goroutine, where its role changes too.
func (a *ahead) store(logs []*raft.Log) error {
	leads := a.leads()
	first, voters := false, 0
	for _, l := range logs {
		switch l.Type {
		case raft.LogNoop:
			first = true
		case raft.LogConfiguration:
			voters = countVoters(raft.DecodeConfiguration(l.Data))
		}
	}
	a.mu.Lock()
	forget := !leads || first
	if forget {
		a.epoch, a.voters = a.epoch+1, 0
	}
	free := !forget && voters == 0 && a.voters > 1
	a.mu.Unlock()
	if free {
		return a.log.StoreAhead(logs, a.fail)
	}
	if err := a.log.StoreLogs(logs); err != nil {
		return err
	}
	if !forget && voters > 0 {
		a.mu.Lock()
		a.voters = voters
		a.mu.Unlock()
	}
	return nil
}

// learn is told once a leadership has begun: from then on only entries that
// store sees change who votes.
func (a *ahead) learn(configuration func() (raft.Configuration, error)) error {
	a.mu.Lock()
	epoch := a.epoch
	a.mu.Unlock()
	c, err := configuration()
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.epoch == epoch && a.voters == 0 && a.leads() {
		a.voters = countVoters(c)
	}
	return nil
}

func countVoters(c raft.Configuration) (n int) {
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

// aheadLog is what raft's cache stands on.
type aheadLog struct {
	*raftlog.Log
	ahead *ahead
}

// StoreLogs implements raft.LogStore.
func (l aheadLog) StoreLogs(logs []*raft.Log) error { return l.ahead.store(logs) }

// settledLog is the log as raft has it.
type settledLog struct {
	*raft.LogCache
	ahead *ahead
}

// GetLog implements raft.LogStore. A follower asks for the entries that it is
// sent and has already, and answers that it has them: so they must be durable.
func (l settledLog) GetLog(index uint64, to *raft.Log) error {
	if !l.ahead.leads() {
		if err := l.ahead.log.Settled(); err != nil {
			return err
		}
	}
	return l.LogCache.GetLog(index, to)
}

// gated is the transport of a leader that runs ahead: see there. Heartbeats pass
// at once, they carry no entries: a disk that is slow for a moment costs no leadership.
type gated struct {
	*raft.NetworkTransport
	log *raftlog.Log
}

// AppendEntries implements raft.Transport.
func (g gated) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := g.NetworkTransport.AppendEntries(id, to, args, resp)
	if err == nil && len(args.Entries) > 0 {
		err = g.log.Settled()
	}
	return err
}

// AppendEntriesPipeline implements raft.Transport.
func (g gated) AppendEntriesPipeline(id raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := g.NetworkTransport.AppendEntriesPipeline(id, to)
	if err != nil {
		return nil, err
	}
	p := &gatedPipeline{AppendPipeline: inner, settled: g.log.Settled, out: make(chan raft.AppendFuture), closed: make(chan struct{})}
	p.running.Go(p.run)
	return p, nil
}

type gatedPipeline struct {
	raft.AppendPipeline
	settled func() error
	out     chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

// run hands answers on. It ends with Close, or when the log failed: then no
// answer may pass any more, and the process ends.
func (p *gatedPipeline) run() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			if len(f.Request().Entries) > 0 && p.settled() != nil {
				return
			}
			select {
			case p.out <- f:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

// Consumer implements raft.AppendPipeline.
func (p *gatedPipeline) Consumer() <-chan raft.AppendFuture { return p.out }

// Close implements raft.AppendPipeline.
func (p *gatedPipeline) Close() error {
	err := p.AppendPipeline.Close()
	p.once.Do(func() { close(p.closed) })
	p.running.Wait()
	return err
}
