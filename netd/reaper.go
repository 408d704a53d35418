package netd

import (
	"errors"
	"sync"
	"time"
)

// reaper removes the host ends of detached jails. Normally the kernel does that by itself when the last process of a
// namespace has ended, many at a time and in the background; deleting one link by hand holds the kernel's rtnl lock for
// some 14 ms, during which no other jail can be attached. So the reaper waits, and removes only what is left.
type reaper struct {
	exists func([]int) ([]int, error) // which of these links still exist
	remove func([]int) error
	gone   func(doomed) error // called once for each when it is gone

	mu      sync.Mutex
	queue   []doomed      // guarded by mu
	running bool          // guarded by mu
	stop    chan struct{} // guarded by mu; closed by close
	done    chan struct{} // guarded by mu; closed by the goroutine
	err     error         // guarded by mu; of removals nobody waited for
}

// doomed is a link of the host, by its index, which is not used again for long.
type doomed struct {
	index int
	jail  string    // id; "" if gone has nothing to do
	link  string    // name that it had
	at    time.Time // remove it then
}

// patience is how long the kernel has to remove a link by itself.
const patience = time.Second

// add hands over links that shall vanish.
func (r *reaper) add(links ...doomed) {
	if len(links) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range links {
		x.at = time.Now().Add(patience)
		r.queue = append(r.queue, x)
	}
	if !r.running {
		r.running, r.stop, r.done = true, make(chan struct{}), make(chan struct{})
		go r.run(r.stop, r.done)
	}
}

func (r *reaper) run(stop, done chan struct{}) {
	defer close(done)
	tick := time.NewTicker(patience / 2)
	defer tick.Stop()
	for {
		hurry := false
		select {
		case <-tick.C:
		case <-stop:
			hurry = true
		}
		r.mu.Lock()
		var due, rest []doomed
		for _, x := range r.queue {
			if hurry || time.Now().After(x.at) {
				due = append(due, x)
			} else {
				rest = append(rest, x)
			}
		}
		r.queue = rest
		r.mu.Unlock()

		err := r.reap(due)
		r.mu.Lock()
		r.err = errors.Join(r.err, err)
		if len(r.queue) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
	}
}

func (r *reaper) reap(due []doomed) error {
	if len(due) == 0 {
		return nil
	}
	var indexes []int
	for _, x := range due {
		indexes = append(indexes, x.index)
	}
	left, err := r.exists(indexes)
	if err == nil {
		err = r.remove(left)
	}
	for _, x := range due {
		err = errors.Join(err, r.gone(x))
	}
	return err
}

// close removes what is queued and waits for the goroutine.
func (r *reaper) close() error {
	r.mu.Lock()
	done := r.done
	if r.running {
		select {
		case <-r.stop:
		default:
			close(r.stop)
		}
	}
	r.mu.Unlock()
	if done != nil {
		<-done
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	r.err = nil
	return err
}
