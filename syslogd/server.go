package syslogd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Port is that of syslog over UDP and TCP, RFC 5426 section 3.3; TLSPort that
// of syslog over TLS, RFC 5425 section 4.1.
const (
	Port    = 514
	TLSPort = 6514
)

const (
	keepAliveEvery  = time.Minute
	maxDatagram     = 64 << 10
	socketReadBytes = 1 << 20
)

// Server takes messages on addresses of a router. Make it with Listen.
type Server struct {
	udp  []*net.UDPConn
	tcp  []*net.TCPListener
	take func(from netip.Addr, raw []byte)
	log  *slog.Logger

	gate gate
	lost func(n int)

	mu     sync.Mutex
	limits limits // guarded by mu
}

// Listen opens UDP and TCP on each address. take gets every message, its bytes
// only during the call, from several goroutines; lost how many were too many.
func Listen(ctx context.Context, addrs []netip.AddrPort, take func(from netip.Addr, raw []byte), lost func(n int), logger *slog.Logger) (*Server, error) {
	s := &Server{take: take, lost: lost, log: logger}
	for _, a := range addrs {
		if err := s.open(ctx, a); err != nil {
			return nil, errors.Join(fmt.Errorf("syslog on %s: %w", a, err), s.close())
		}
	}
	return s, nil
}

func (s *Server) open(ctx context.Context, a netip.AddrPort) error {
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
	if err != nil {
		return err
	}
	s.udp = append(s.udp, u)
	_ = u.SetReadBuffer(socketReadBytes) // less is no reason to do without
	conf := net.ListenConfig{KeepAlive: keepAliveEvery}
	t, err := conf.Listen(ctx, "tcp", u.LocalAddr().String())
	if err != nil {
		return err
	}
	s.tcp = append(s.tcp, t.(*net.TCPListener)) //nolint:forcetypeassert // of network tcp
	return nil
}

// Addrs are where the server listens, UDP and TCP alike.
func (s *Server) Addrs() []netip.AddrPort {
	out := make([]netip.AddrPort, len(s.udp))
	for i, u := range s.udp {
		out[i] = u.LocalAddr().(*net.UDPAddr).AddrPort() //nolint:forcetypeassert // of network udp
	}
	return out
}

func (s *Server) close() error {
	var errs []error
	for _, u := range s.udp {
		errs = append(errs, u.Close())
	}
	for _, t := range s.tcp {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { _ = s.close() })
	defer stop()
	for _, u := range s.udp {
		g.Go(func() error { return ended(ctx, s.datagrams(u)) })
	}
	for _, t := range s.tcp {
		g.Go(func() error { return ended(ctx, s.gate.accept(ctx, t, s.log, s.stream)) })
	}
	return g.Wait()
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end was wanted, whatever it interrupted
	}
	return err
}

func (s *Server) datagrams(u *net.UDPConn) error {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := u.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			s.log.Warn("syslog over UDP", "err", err) // of one datagram
			continue
		}
		s.message(from.Addr(), buf[:n])
	}
}

// message takes one message, unless its source sends too much.
func (s *Server) message(from netip.Addr, raw []byte) {
	from = from.Unmap()
	s.mu.Lock()
	ok := s.limits.allow(from, time.Now())
	s.mu.Unlock()
	if !ok {
		s.lost(1)
		return
	}
	s.take(from, raw[:min(len(raw), MaxMessage)])
}

// stream reads one connection to its end. Who breaks the framing is cut off:
// where the next message begins cannot be known.
func (s *Server) stream(_ context.Context, from netip.Addr, c net.Conn) {
	f := newFrames(c)
	for {
		raw, err := f.next()
		if err != nil {
			return
		}
		s.message(from, raw)
	}
}

// pause waits for d; false when ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
