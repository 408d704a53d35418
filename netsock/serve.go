package netsock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/seqpacket"
)

// What one jail may cost.
const (
	maxConns  = 8                // connections at a time
	perSecond = 50               // messages, over all of them
	burst     = 100              // messages at once
	patience  = 10               // messages of a connection that are not understood
	idle      = 10 * time.Minute // a connection that asks nothing
	stall     = 5 * time.Second  // for a peer to take its reply
	leaveTime = 10 * time.Second
)

// Config of a listener. All fields but Log and Metrics are required.
type Config struct {
	Who
	State func() *fsm.State
	// Mine says whether a process of this uid, as the host counts, can be the
	// jail's.
	Mine func(uid uint32) bool
	// Leave stops the jail and keeps it stopped.
	Leave   func(ctx context.Context, jail fsm.JailName) error
	Metrics *Metrics     // nil: none
	Log     *slog.Logger // nil: silent
}

// Serve answers on l until ctx ends; then it has closed l and all connections.
func Serve(ctx context.Context, l *net.UnixListener, c Config) error {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	s := &server{c: c, limit: rate.NewLimiter(perSecond, burst)}
	defer s.wg.Wait()
	defer cancel() // before Wait
	slots := make(chan struct{}, maxConns)
	for {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("socket of jail %s in network %s: %w", c.Jail, c.Network, err)
		case err != nil: // no descriptors are left, or the like
			c.Log.Warn("a jail cannot ask on its socket", "jail", c.Jail, "network", c.Network, "err", err)
		}
		// A connection costs as much as a message.
		if werr := s.limit.Wait(ctx); werr != nil || err != nil {
			if err == nil {
				_ = conn.Close()
			}
			continue
		}
		select {
		case slots <- struct{}{}:
			s.wg.Go(func() {
				defer func() { <-slots }()
				s.talk(ctx, conn)
			})
		default:
			c.Metrics.refused.WithLabelValues("connections").Inc()
			_ = conn.Close()
		}
	}
}

type server struct {
	c     Config
	limit *rate.Limiter
	wg    sync.WaitGroup
}

// talk answers one connection until it or ctx ends.
func (s *server) talk(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	uid, err := seqpacket.PeerUID(conn)
	if err != nil || !s.c.Mine(uid) {
		s.c.Metrics.refused.WithLabelValues("uid").Inc()
		s.c.Log.Warn("a process that is not the jail's asks on its socket", "jail", s.c.Jail, "network", s.c.Network, "uid", uid, "err", err)
		return
	}
	buf := make([]byte, MaxMessage+1)
	bad := 0
	for bad < patience && ctx.Err() == nil {
		if s.limit.Wait(ctx) != nil {
			return
		}
		if err := conn.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return
		}
		n, err := conn.Read(buf)
		if err != nil || n == 0 || ctx.Err() != nil {
			return // the peer is gone, or we are
		}
		for _, r := range s.replies(ctx, buf[:n]) {
			if r.Type == TypeError {
				bad++
				s.c.Metrics.refused.WithLabelValues(r.Code).Inc()
			} else {
				s.c.Metrics.requests.WithLabelValues(r.Type).Inc()
			}
			if s.send(conn, r) != nil {
				return
			}
		}
	}
}

// replies answers what came in one read: one message, and on FreeBSD 15 more
// when a peer did not mark their ends.
func (s *server) replies(ctx context.Context, b []byte) (out []Reply) {
	if len(b) > MaxMessage {
		return []Reply{refuse(Request{}, "too_large", "a message has at most %d bytes", MaxMessage)}
	}
	in := json.NewDecoder(bytes.NewReader(b))
	for len(out) < patience {
		var r Request
		switch err := in.Decode(&r); {
		case errors.Is(err, io.EOF) && len(out) > 0:
			return out
		case err != nil:
			return append(out, refuse(r, "bad_request", `want one JSON object, as {"v":%d,"type":%q}`, Version, TypeSelf))
		}
		out = append(out, s.answer(ctx, r))
	}
	return out
}

func (s *server) answer(ctx context.Context, r Request) Reply {
	reply := Answer(s.c.State(), s.c.Who, r)
	if reply.Type != TypeLeave {
		return reply
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	if err := s.c.Leave(ctx, s.c.Jail); err != nil {
		s.c.Log.Warn("a jail could not leave", "jail", s.c.Jail, "err", err)
		return refuse(r, "failed", "it could not be done now: ask again")
	}
	return reply
}

func (s *server) send(conn *net.UnixConn, r Reply) error {
	b, err := json.Marshal(r)
	if err == nil && len(b) > maxReply {
		b, err = json.Marshal(refuse(Request{ID: r.ID}, "failed", "the answer is too large"))
	}
	if err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return err
	}
	return seqpacket.Write(conn, b)
}
