package netd

import "sync"

// spares keeps a few namespaces ready for jails: making one takes the kernel half a millisecond, a good third of an
// Attach, and does not depend on the jail. They have no name, so nothing is left of them when the process ends.
type spares struct {
	make func() (*namespace, error)

	mu     sync.Mutex
	idle   []*namespace   // guarded by mu
	busy   bool           // guarded by mu; the goroutine runs
	closed bool           // guarded by mu
	wg     sync.WaitGroup // the goroutine
}

// spareCount is how many are kept: enough for jails that start one after the other. A burst makes its own in parallel.
const spareCount = 4

// take returns a namespace, and sees to it that another is made.
func (s *spares) take() (*namespace, error) {
	s.mu.Lock()
	var n *namespace
	if last := len(s.idle) - 1; last >= 0 {
		n, s.idle = s.idle[last], s.idle[:last]
	}
	if !s.busy && !s.closed {
		s.busy = true
		s.wg.Go(s.fill)
	}
	s.mu.Unlock()
	if n != nil {
		return n, nil
	}
	return s.make()
}

// fill stops at the first error: whoever takes next meets it, and can say so.
func (s *spares) fill() {
	for {
		s.mu.Lock()
		if s.closed || len(s.idle) >= spareCount {
			s.busy = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		n, err := s.make()
		s.mu.Lock()
		if err != nil {
			s.busy = false
			s.mu.Unlock()
			return
		}
		s.idle = append(s.idle, n)
		s.mu.Unlock()
	}
}

// close waits for the goroutine and ends the spare namespaces.
func (s *spares) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.idle {
		n.close()
	}
	s.idle = nil
}
