package raftlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// Base is the database below: it keeps what raft sets by key, and the entries
// of a log that an earlier version wrote.
type Base interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// Log is a raft.LogStore, and a raft.StableStore by its Base.
type Log struct {
	raft.StableStore
	base Base
	dir  string
	size int64 // of a segment, in bytes
	sync func(*os.File) error

	removing sync.Mutex // held while old entries are deleted; taken before writing

	writing sync.Mutex   // held by whoever appends; guards the fields below
	scratch []byte       // of the last batch, to be used again
	dirty   int64        // bytes behind the end of the newest segment that a write that failed may have left
	made    chan newMade // capacity 1: the segment that was made ready; nil: none is being made
	spare   *segment     // made ready
	closed  bool

	ahead atomic.Pointer[flight] // nil: all that was stored is durable

	mu       sync.RWMutex // guards what follows; whoever changes it holds writing too
	segments []*segment   // oldest first; the last is written to
	floor    uint64       // entries up to this one are forgotten
	older    span         // entries in base
}

type newMade struct {
	segment *segment
	err     error
}

// span is a row of indexes; first 0 means that there are none.
type span struct{ first, last uint64 }

var (
	_ raft.LogStore          = (*Log)(nil)
	_ raft.StableStore       = (*Log)(nil)
	_ raft.MonotonicLogStore = (*Log)(nil)
)

// Open reads the log in dir, which must exist, over base. base is the Log's
// from then on, also when there is an error; whoever opens it keeps others out
// of dir. What is damaged is a *DamageError.
//
// sync makes what was written to a segment durable; nil is what the system has
// for that.
func Open(dir string, base Base, sync func(*os.File) error) (*Log, error) {
	return openSized(dir, base, segmentSize, sync)
}

func openSized(dir string, base Base, size int64, sync func(*os.File) error) (_ *Log, err error) {
	l := &Log{StableStore: base, base: base, dir: dir, size: size, sync: sync}
	if sync == nil {
		l.sync = syncData
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.older.first, err = base.FirstIndex(); err == nil {
		l.older.last, err = base.LastIndex()
	}
	if err != nil {
		return nil, fmt.Errorf("read the log of the earlier version: %w", err)
	}
	if err := l.load(); err != nil {
		return nil, err
	}
	if err := l.join(); err != nil {
		return nil, err
	}
	if len(l.segments) == 0 {
		s, err := create(dir, 1, size)
		if err != nil {
			return nil, err
		}
		l.segments = append(l.segments, s)
	}
	return l, nil
}

// join puts the segments behind the entries in base, and ends what a crash
// interrupted there.
func (l *Log) join() error {
	if l.older.first == 0 {
		return nil
	}
	if err := l.dropOlder(l.floor); err != nil {
		return err
	}
	if first, _ := l.held(); first != 0 && l.older.first != 0 && first != l.older.last+1 {
		return &DamageError{l.segments[0].path, fmt.Sprintf("the segments begin at entry %d, the entries before them end at %d", first, l.older.last)}
	}
	return nil
}

// held is the span of the entries in segments.
func (l *Log) held() (first, last uint64) {
	for _, s := range l.segments {
		if len(s.place) > 0 {
			first = s.first
			break
		}
	}
	for i := len(l.segments) - 1; i >= 0; i-- {
		if s := l.segments[i]; len(s.place) > 0 {
			return first, s.last()
		}
	}
	return 0, 0
}

// all is the span of all entries.
func (l *Log) all() (first, last uint64) {
	first, last = l.held()
	if l.older.first == 0 {
		return first, last
	}
	return l.older.first, max(last, l.older.last)
}

// FirstIndex implements raft.LogStore.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	first, _ := l.all()
	return first, nil
}

// LastIndex implements raft.LogStore.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, last := l.all()
	return last, nil
}

// GetLog implements raft.LogStore: what is not there is raft.ErrLogNotFound.
func (l *Log) GetLog(index uint64, to *raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i := len(l.segments) - 1; i >= 0; i-- { // most ask for new ones
		s := l.segments[i]
		if len(s.place) == 0 || index < s.first {
			continue
		}
		if index > s.last() {
			return raft.ErrLogNotFound
		}
		r, err := s.read(index)
		if err != nil {
			return err
		}
		r.log(to)
		return nil
	}
	if l.older.first == 0 || index < l.older.first || index > l.older.last {
		return raft.ErrLogNotFound
	}
	return l.base.GetLog(index, to)
}

// IsMonotonic implements raft.MonotonicLogStore: after a snapshot of another
// member raft removes all entries, instead of leaving a hole.
func (l *Log) IsMonotonic() bool { return true }

// Close closes all files. It is idempotent.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.awaitSpare()
	err := l.Settled()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		err = errors.Join(err, s.file.Close())
	}
	if l.spare != nil {
		err = errors.Join(err, l.spare.file.Close())
	}
	return errors.Join(err, l.base.Close())
}
