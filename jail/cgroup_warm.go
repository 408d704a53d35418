package jail

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Expecter is a Driver that can use the time in which a jail's root and network are made.
type Expecter interface {
	// Expect says that Start will be called soon. It returns at once.
	Expect()
}

const (
	warmFor   = 100 * time.Millisecond
	warmEvery = 4 * time.Millisecond
)

// warmer keeps the lock that guards moves between control groups (the kernel's cgroup_threadgroup_rwsem) ready for
// writers. The first writer after a pause waits for an RCU grace period, 6 to 8 ms on an idle host; one that comes within
// some 20 ms of another does not. A runtime moves its jail's first process, so without this every start that comes alone
// waits; with it the wait passes while root and network are made. The move that takes the lock is one that changes
// nothing: of ourselves, to the group in which we are.
type warmer struct {
	file string // cgroup.procs of our own group, "" when it is not known

	mu      sync.Mutex
	until   time.Time // guarded by mu
	running bool      // guarded by mu
}

// Expect implements Expecter.
func (l *Linux) Expect() {
	w := &l.warm
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = time.Now().Add(warmFor)
	if w.running || w.file == "" || l.ctx.Err() != nil {
		return
	}
	w.running = true
	l.wg.Go(func() { w.run(l.ctx.Done()) })
}

func (w *warmer) run(end <-chan struct{}) {
	self := []byte(strconv.Itoa(os.Getpid()))
	tick := time.NewTicker(warmEvery)
	defer tick.Stop()
	for w.wanted() {
		// Where it may not be written, starts are slower and nothing else.
		if err := os.WriteFile(w.file, self, 0); err != nil {
			w.giveUp()
			return
		}
		select {
		case <-tick.C:
		case <-end:
			w.giveUp()
			return
		}
	}
}

func (w *warmer) wanted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = time.Now().Before(w.until)
	return w.running
}

func (w *warmer) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running, w.file = false, ""
}

// ownProcs returns the cgroup.procs file of the group in which this process is, or "". self is /proc/self/cgroup:
// cgroups(7).
func (c *cgroups) ownProcs(self string) string {
	for line := range strings.Lines(self) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 || !slices.Contains(strings.Split(part[1], ","), "pids") && (part[1] != "" || c.layout != "v2") {
			continue
		}
		name := filepath.Join(c.at["pids"], part[2], "cgroup.procs")
		if c.at["pids"] != "" && exists(name) {
			return name
		}
	}
	return ""
}
