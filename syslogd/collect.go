package syslogd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
)

// maxRelays is how many connections one network's socket takes.
const maxRelays = 8

// Collect takes what routers hand over at l, until ctx ends, and closes l. take
// gets each message with the address of who sent it, its bytes only during the
// call; lost how many messages a router had to let go.
func Collect(ctx context.Context, l net.Listener, take func(from netip.Addr, raw []byte), lost func(n int), logger *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close() // at the latest
	slots := make(chan struct{}, maxRelays)
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("take messages of jails: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = c.Close() // a router has one; who opens so many is broken
			continue
		}
		conns.Go(func() {
			defer func() { <-slots }()
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			defer c.Close() // it was only read
			if err := collectOne(c, take, lost); err != nil && ctx.Err() == nil {
				logger.Warn("messages of a router", "err", err)
			}
		})
	}
}

func collectOne(c io.Reader, take func(netip.Addr, []byte), lost func(int)) error {
	// A line is base64 of MaxMessage bytes and little beside it.
	in := bufio.NewScanner(c)
	in.Buffer(make([]byte, 4096), 2*MaxMessage)
	for in.Scan() {
		var e envelope
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			return fmt.Errorf("no message of ours: %w", err)
		}
		if e.Lost > 0 {
			lost(e.Lost)
		}
		if e.From.IsValid() && len(e.Raw) <= MaxMessage {
			take(e.From.Unmap(), e.Raw)
		}
	}
	if err := in.Err(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
