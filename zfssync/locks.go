package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait is how long a predecessor that was killed may go on holding the lock: the child from which it was just taking
// a user namespace has the descriptor too, and dies a moment later.
const lockWait = 2 * time.Second

// takeLock locks the data directory for this process: one daemon each.
func takeLock(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("lock store %s: %w", dir, err), lock.Close())
	}
	return lock, nil
}

func lockFile(f *os.File) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(lockWait); ; <-tick.C {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(end) {
			return errors.New("it is in use by another rexcarcer: stop that one, or choose another -data-dir")
		}
	}
}

// keyLocks serializes work on one name.
type keyLocks struct {
	mu sync.Mutex // guards m
	m  map[string]*keyLock
}

type keyLock struct {
	ch   chan struct{} // size 1: a token is in it while the name is locked
	refs int
}

// lock waits for name, or for ctx.
func (k *keyLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	l := k.m[name]
	if l == nil {
		l = &keyLock{ch: make(chan struct{}, 1)}
		k.m[name] = l
	}
	l.refs++
	k.mu.Unlock()
	drop := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.refs--; l.refs == 0 {
			delete(k.m, name)
		}
	}
	select {
	case l.ch <- struct{}{}:
		return func() { <-l.ch; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, ctx.Err()
	}
}

// holds counts who needs a snapshot. A crash lets go of all.
type holds struct {
	mu sync.Mutex
	n  map[string]int // guarded by mu
}

func (h *holds) hold(what string) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == nil {
		h.n = map[string]int{}
	}
	h.n[what]++
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.n[what]--; h.n[what] == 0 {
			delete(h.n, what)
		}
	})
}

func (h *holds) has(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n[what] > 0
}
