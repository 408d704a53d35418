package dnsd

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	maxStreams  = 256              // connections at once; more are closed at once
	streamIdle  = 10 * time.Second // RFC 7766 section 6.2.3 asks for seconds
	streamWrite = 5 * time.Second
)

// serveTCP accepts connections until listener is closed.
func (s *Server) serveTCP(ctx context.Context, listener *net.TCPListener) error {
	slots := make(chan struct{}, maxStreams)
	var streams sync.WaitGroup
	defer streams.Wait()
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			if !s.retry(ctx, "accept", err) {
				return nil
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close() // over the limit: the client has UDP, or comes again
			continue
		}
		streams.Go(func() {
			defer func() { <-slots }()
			s.serveStream(ctx, conn)
		})
	}
}

// serveStream answers the queries of one connection one after the other,
// until the client has enough, is silent, or breaks the framing.
func (s *Server) serveStream(ctx context.Context, conn *net.TCPConn) {
	defer conn.Close() // all replies are written
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	w := &worker{shard: s.handler.metrics.shard(0)}
	reader := bufio.NewReaderSize(conn, 4096)
	var size [2]byte
	query, out := make([]byte, 0, 512), make([]byte, 0, 2048)
	for {
		conn.SetReadDeadline(time.Now().Add(streamIdle)) // fails only when closed: so does the read
		if ctx.Err() != nil {
			return
		}
		if _, err := io.ReadFull(reader, size[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		if cap(query) < n {
			query = make([]byte, 0, n)
		}
		query = query[:n]
		if _, err := io.ReadFull(reader, query); err != nil {
			return
		}
		reply := s.streamReply(ctx, query, from, w)
		if len(reply) == 0 { // it deserves none: the client is not a DNS client
			return
		}
		out = append(binary.BigEndian.AppendUint16(out[:0], uint16(len(reply))), reply...)
		conn.SetWriteDeadline(time.Now().Add(streamWrite))
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// streamReply answers one query, waiting for the resolvers if it must.
func (s *Server) streamReply(ctx context.Context, query []byte, from netip.AddrPort, w *worker) []byte {
	began := time.Now()
	w.now = uint32(began.Unix())
	reply, forward := s.handler.answer(nil, query, from, false, w)
	if !forward {
		w.shard.observe(time.Since(began), 1)
		return reply
	}
	if s.forward == nil {
		return servfail(query)
	}
	return s.forward.Forward(ctx, query, false)
}
