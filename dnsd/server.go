package dnsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Server listens on some addresses over UDP and TCP.
//
// A reply leaves from the address that the kernel chooses for it, so name the
// addresses to listen on: with a wildcard address a host with several
// addresses may answer from another one than was asked.
type Server struct {
	handler *Handler
	forward *Forwarder // nil: foreign names are refused
	logger  *slog.Logger
	workers int

	packets []*net.UDPConn
	streams []*net.TCPListener
	pending sync.WaitGroup // forwards under way
}

// Listen opens the sockets of a Server: per address one for TCP and, where
// several can share a port, one for UDP per CPU. Run serves them.
func Listen(ctx context.Context, addrs []netip.AddrPort, h *Handler, f *Forwarder, logger *slog.Logger) (*Server, error) {
	s := &Server{handler: h, forward: f, logger: logger, workers: 1}
	if f != nil {
		f.handler.Store(h)
	}
	if canReusePort {
		s.workers = min(runtime.GOMAXPROCS(0), numShards)
	}
	for _, addr := range addrs {
		if err := s.listen(ctx, addr); err != nil {
			return nil, errors.Join(fmt.Errorf("listen for DNS on %s: %w", addr, err), s.close())
		}
	}
	return s, nil
}

func (s *Server) listen(ctx context.Context, addr netip.AddrPort) error {
	config := net.ListenConfig{Control: controlSocket}
	// TCP first: with port 0 it chooses, and UDP must be able to follow.
	stream, err := config.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return err
	}
	s.streams = append(s.streams, stream.(*net.TCPListener))
	bound := stream.Addr().(*net.TCPAddr).AddrPort()
	for range s.workers {
		packet, err := config.ListenPacket(ctx, "udp", netip.AddrPortFrom(addr.Addr(), bound.Port()).String())
		if err != nil {
			return err
		}
		s.packets = append(s.packets, packet.(*net.UDPConn))
	}
	return nil
}

// Addrs are the addresses that are listened on, with their real ports.
func (s *Server) Addrs() (addrs []netip.AddrPort) {
	for _, stream := range s.streams {
		addrs = append(addrs, stream.Addr().(*net.TCPAddr).AddrPort())
	}
	return addrs
}

// Run serves until ctx ends, then closes the sockets and waits for all that is
// under way. It is called once.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, conn := range s.packets {
		group.Go(func() error { return s.serveUDP(ctx, conn, &worker{shard: s.handler.metrics.shard(i)}) })
	}
	for _, listener := range s.streams {
		group.Go(func() error { return s.serveTCP(ctx, listener) })
	}
	group.Go(func() error {
		<-ctx.Done()
		return s.close()
	})
	err := group.Wait()
	if s.forward != nil {
		s.forward.close()
	}
	s.pending.Wait()
	if err != nil {
		return fmt.Errorf("serve DNS: %w", err)
	}
	return nil
}

func (s *Server) close() error {
	var errs []error
	for _, conn := range s.packets {
		errs = append(errs, conn.Close())
	}
	for _, listener := range s.streams {
		errs = append(errs, listener.Close())
	}
	return errors.Join(errs...)
}

// resolve has a foreign query of source answered and hands the reply to send,
// unless too many are under way: then it answers SERVFAIL at once.
func (s *Server) resolve(ctx context.Context, query []byte, source netip.Addr, udp bool, send func(reply []byte)) {
	if s.forward == nil {
		send(servfail(query))
		return
	}
	if !s.forward.take(source) {
		send(s.forward.overload(query))
		return
	}
	s.pending.Go(func() {
		defer s.forward.release(source)
		send(s.forward.forward(ctx, query, source, udp))
	})
}

// retry waits a moment after an error that will pass (no memory, no
// descriptors), so that it does not fill the log; false when ctx ends.
func (s *Server) retry(ctx context.Context, what string, err error) bool {
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	s.logger.Warn("dns socket, retrying", "op", what, "err", err)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(100 * time.Millisecond):
		return true
	}
}
