package raftlog

import "fmt"

// flight is a batch that the disk works on while the caller went on.
type flight struct {
	done chan struct{}
	err  error // after done
}

// Settled returns when all that was stored before is durable.
func (l *Log) Settled() error {
	f := l.ahead.Load()
	if f == nil {
		return nil
	}
	<-f.done
	return f.err
}

// write appends b to the newest segment, and returns when it is durable or, with
// failed as StoreAhead has it, when the disk has begun with that. Only one batch
// may be under way: a crash tears the last one, and no other.
func (l *Log) write(b []byte, failed func(error)) error {
	if l.scratch = b; cap(b) > keepScratch {
		l.scratch = nil
	}
	if err := l.Settled(); err != nil {
		return err
	}
	s := l.newest()
	if l.dirty > 0 {
		// What a write that failed left there could be read as a batch behind a
		// shorter one.
		if err := s.zero(l.dirty); err != nil {
			return err
		}
		l.dirty = 0
	}
	_, err := s.file.WriteAt(b, s.end)
	if err == nil && failed == nil {
		err = l.sync(s.file)
	}
	if err != nil {
		l.dirty = int64(len(b))
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	s.end += int64(len(b))
	if failed != nil {
		l.takeOff(s, failed)
	}
	return nil
}

// takeOff syncs s in the background. A flight that failed stays: nobody may
// think that it landed.
func (l *Log) takeOff(s *segment, failed func(error)) {
	f := &flight{done: make(chan struct{})}
	l.ahead.Store(f)
	go func() { // the next write and Close wait for it
		err := l.sync(s.file)
		if err == nil {
			l.ahead.CompareAndSwap(f, nil)
			close(f.done)
			return
		}
		f.err = fmt.Errorf("write %s: %w", s.path, err)
		close(f.done)
		failed(f.err)
	}()
}

// makeRoom goes on to the next segment if the newest has less than n bytes left.
func (l *Log) makeRoom(n int) error {
	s := l.newest()
	if s.end+int64(n) <= s.size {
		return nil
	}
	if l.dirty > 0 { // it must end cleanly before the next begins
		if err := s.zero(l.dirty); err != nil {
			return err
		}
		l.dirty = 0
	}
	l.awaitSpare()
	next := l.spare
	l.spare = nil
	if next != nil && next.size < int64(n+segmentHead) {
		if err := next.remove(); err != nil {
			return err
		}
		next = nil
	}
	if next == nil {
		var err error
		if next, err = create(l.dir, s.number+1, max(l.size, int64(n+segmentHead))); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.segments = append(l.segments, next)
	l.mu.Unlock()
	return nil
}

// makeSpare begins to make the next segment. An error is of no interest yet:
// it is tried again when the segment is needed.
func (l *Log) makeSpare() {
	if l.spare != nil || l.made != nil {
		return
	}
	number := l.newest().number + 1
	l.made = make(chan newMade, 1)
	go func(done chan<- newMade) { // awaitSpare waits for it
		s, err := create(l.dir, number, l.size)
		done <- newMade{s, err}
	}(l.made)
}

// awaitSpare takes the segment that is being made.
func (l *Log) awaitSpare() {
	if l.made == nil {
		return
	}
	m := <-l.made
	l.made = nil
	if m.err == nil {
		l.spare = m.segment
	}
}
