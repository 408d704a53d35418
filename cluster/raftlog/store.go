package raftlog

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// batchBytes is the most that is written at once; one larger entry is a batch
// of its own.
const batchBytes = 16 << 20

// keepScratch is the largest buffer that is kept for the next batch, in bytes.
const keepScratch = 1 << 20

var errClosed = errors.New("the log is closed")

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(one *raft.Log) error { return l.StoreLogs([]*raft.Log{one}) }

// StoreLogs implements raft.LogStore. The entries must follow each other, and
// the last one that is there; if they leave a hole behind that, as when a snapshot
// filled it, all before the hole is forgotten. After an error none or some of the
// first may be there.
func (l *Log) StoreLogs(logs []*raft.Log) error { return l.store(logs, nil) }

// StoreAhead is StoreLogs, but for that it returns while the disk still works on
// the last batch. Settled waits for that. If it fails, failed is called and nothing
// can be written any more: the caller went on with entries that are not there.
func (l *Log) StoreAhead(logs []*raft.Log, failed func(error)) error { return l.store(logs, failed) }

func (l *Log) store(logs []*raft.Log, failed func(error)) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return errClosed
	}
	for len(logs) > 0 {
		n, size := 1, entrySize(logs[0])
		for ; n < len(logs) && size+entrySize(logs[n]) <= batchBytes; n++ {
			size += entrySize(logs[n])
		}
		last := failed
		if n < len(logs) {
			last = nil
		}
		if err := l.append(logs[:n], size, last); err != nil {
			return fmt.Errorf("append entry %d to the log: %w", logs[0].Index, err)
		}
		logs = logs[n:]
	}
	return nil
}

// append writes one batch; size is that of its entries. failed is that of
// StoreAhead, or nil.
func (l *Log) append(logs []*raft.Log, size int, failed func(error)) error {
	for i, e := range logs {
		if e.Index != logs[0].Index+uint64(i) || e.Index == 0 {
			return fmt.Errorf("entry %d does not follow entry %d", e.Index, logs[max(i-1, 0)].Index)
		}
	}
	_, last := l.all() // nobody else changes it
	hole := last != 0 && logs[0].Index > last+1
	if last != 0 && logs[0].Index <= last {
		return fmt.Errorf("entry %d is there already, the last is %d", logs[0].Index, last)
	}
	if err := l.makeRoom(size + padded(0)); err != nil {
		return err
	}
	s := l.newest()
	b := batch{buf: l.scratch[:0], seed: s.seed}
	if hole {
		b.mark(kindDrop, last)
	}
	places := make([]place, len(logs))
	for i, e := range logs {
		at := len(b.buf)
		b.entry(e)
		places[i] = place{uint32(s.end) + uint32(at), uint32(len(b.buf) - at)}
	}
	begin := s.end
	if err := l.write(b.buf, failed); err != nil {
		return err
	}
	l.mu.Lock()
	if hole {
		l.drop(last)
	}
	l.floor = min(l.floor, logs[0].Index-1)
	for i, e := range logs {
		s.add(e.Index, places[i])
	}
	l.mu.Unlock()
	if begin < s.size/2 && s.end >= s.size/2 {
		l.makeSpare()
	}
	if hole {
		return l.dropOlder(last)
	}
	return nil
}

func (l *Log) newest() *segment { return l.segments[len(l.segments)-1] }

// DeleteRange implements raft.LogStore for a range that begins at the first
// entry or ends at the last: raft asks for no other.
func (l *Log) DeleteRange(from, to uint64) error {
	l.removing.Lock()
	defer l.removing.Unlock()
	gone, err := l.deleteRange(from, to)
	for _, s := range gone { // oldest first, each for good: a crash leaves no hole. And nobody's write waits for it
		if err == nil {
			err = errors.Join(s.remove(), syncDir(l.dir))
		}
	}
	if err != nil {
		return fmt.Errorf("delete entries %d to %d of the log: %w", from, to, err)
	}
	return nil
}

// deleteRange returns the segments that nobody needs any more.
func (l *Log) deleteRange(from, to uint64) ([]*segment, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return nil, errClosed
	}
	first, last := l.all()
	from, to = max(from, first), min(to, last)
	switch {
	case last == 0 || from > to:
		return nil, nil
	case from == first:
		return l.forget(to)
	case to == last:
		return nil, l.void(from)
	}
	return nil, fmt.Errorf("there are entries before and behind them, from %d to %d", first, last)
}

// mark writes one record without a body.
func (l *Log) mark(k kind, index uint64) error {
	if err := l.makeRoom(padded(0)); err != nil {
		return err
	}
	b := batch{buf: l.scratch[:0], seed: l.newest().seed}
	b.mark(k, index)
	return l.write(b.buf, nil)
}

// forget deletes the entries up to index, and returns the segments that only had those.
func (l *Log) forget(index uint64) ([]*segment, error) {
	if err := l.mark(kindDrop, index); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.drop(index)
	old := 0
	for old < len(l.segments)-1 && len(l.segments[old].place) == 0 {
		old++
	}
	gone := l.segments[:old:old]
	l.segments = l.segments[old:]
	l.mu.Unlock()
	return gone, l.dropOlder(index)
}

// void deletes the entries from index on.
func (l *Log) void(index uint64) error {
	if _, last := l.held(); last != 0 && last >= index {
		if err := l.mark(kindCut, index); err != nil {
			return err
		}
		l.mu.Lock()
		l.cut(index)
		l.mu.Unlock()
	}
	if l.older.first == 0 || index > l.older.last {
		return nil
	}
	if err := l.base.DeleteRange(index, l.older.last); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.older.last = index - 1 // it is not before older.first: that would be forget
	return nil
}

// dropOlder deletes the entries of base up to index.
func (l *Log) dropOlder(index uint64) error {
	if l.older.first == 0 || index < l.older.first {
		return nil
	}
	if err := l.base.DeleteRange(l.older.first, index); err != nil {
		return fmt.Errorf("delete entries of the earlier version: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.older.first = index + 1; l.older.first > l.older.last {
		l.older = span{}
	}
	return nil
}

// cut and drop change what is held in segments, as segment.cut and drop do.
func (l *Log) cut(index uint64) {
	for _, s := range l.segments {
		s.cut(index)
	}
}

func (l *Log) drop(index uint64) {
	l.floor = max(l.floor, index)
	for _, s := range l.segments {
		s.drop(index)
	}
}
