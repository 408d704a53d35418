package build

import (
	"context"
	"sync"
)

// locks let one step of a key run at a time.
type locks struct {
	mu sync.Mutex // guards m
	m  map[string]*lock
}

type lock struct {
	token chan struct{} // size 1: full while locked
	users int
}

// lock waits for key, or for ctx.
func (l *locks) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	k := l.m[key]
	if k == nil {
		k = &lock{token: make(chan struct{}, 1)}
		l.m[key] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.m, key)
		}
	}
	select {
	case k.token <- struct{}{}:
		return func() { <-k.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
