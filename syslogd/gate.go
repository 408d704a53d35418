package syslogd

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Connections over TCP, in all and of one source.
const (
	maxConns      = 1024
	maxConnsOfOne = 16
)

// gate lets in so many connections, and no more.
type gate struct {
	one int // of one source; 0: maxConnsOfOne

	mu    sync.Mutex
	conns map[netip.Addr]int // guarded by mu
	all   int                // guarded by mu
}

// accept calls serve for each connection that may come in, closes it
// afterwards, and returns when l is closed and all of them have ended.
func (g *gate) accept(ctx context.Context, l net.Listener, log *slog.Logger, serve func(ctx context.Context, from netip.Addr, c net.Conn)) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			log.Warn("syslog over TCP", "err", err)
			if !pause(ctx, 100*time.Millisecond) { // such as too many open files
				return err
			}
			continue
		}
		from := remote(c)
		if !g.enter(from) {
			_ = c.Close() // nothing was said yet
			continue
		}
		conns.Go(func() {
			defer g.leave(from)
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			defer c.Close() // what was to be said has been
			serve(ctx, from, c)
		})
	}
}

func remote(c net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

func (g *gate) enter(from netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		g.conns = map[netip.Addr]int{}
	}
	if g.all >= maxConns || g.conns[from] >= cmp.Or(g.one, maxConnsOfOne) {
		return false
	}
	g.all++
	g.conns[from]++
	return true
}

func (g *gate) leave(from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.conns[from]--; g.conns[from] == 0 {
		delete(g.conns, from)
	}
}
