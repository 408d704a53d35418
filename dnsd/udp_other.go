//go:build !linux

package dnsd

import (
	"context"
	"net"
	"slices"
	"syscall"
	"time"
)

const canReusePort = false

func controlSocket(_, _ string, _ syscall.RawConn) error { return nil }

// serveUDP answers what arrives at conn until it is closed, packet by packet.
func (s *Server) serveUDP(ctx context.Context, conn *net.UDPConn, w *worker) error {
	query, buf := make([]byte, 2048), make([]byte, 0, maxUDP)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(query)
		if err != nil {
			if !s.retry(ctx, "receive", err) {
				return nil
			}
			continue
		}
		began := time.Now()
		w.now = uint32(began.Unix())
		reply, forward := s.handler.answer(buf, query[:n], from, true, w)
		if forward {
			s.resolve(ctx, slices.Clone(query[:n]), from.Addr().Unmap(), true, func(late []byte) {
				// A client that has gone away is no error of ours.
				_, _ = conn.WriteToUDPAddrPort(late, from)
			})
			continue
		}
		if len(reply) > 0 {
			_, _ = conn.WriteToUDPAddrPort(reply, from) // as above
			w.shard.observe(time.Since(began), 1)
		}
	}
}
