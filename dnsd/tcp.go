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
	maxOfStream = 32               // queries of one connection that wait for resolvers; then it is not read
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
			st := stream{server: s, conn: conn, from: conn.RemoteAddr().(*net.TCPAddr).AddrPort(), waiting: make(chan struct{}, maxOfStream)}
			st.serve(ctx)
		})
	}
}

// stream is one connection. Its queries may come all at once, and whoever can
// be answered is, before those that wait for a resolver (RFC 7766 section 6.2.1.1).
type stream struct {
	server  *Server
	conn    *net.TCPConn
	from    netip.AddrPort
	waiting chan struct{} // one per query that waits

	mu  sync.Mutex // guards writing
	out []byte
}

// serve answers until the client has enough, is silent, or breaks the framing.
func (st *stream) serve(ctx context.Context) {
	defer st.conn.Close() // all replies are written
	stop := context.AfterFunc(ctx, func() { st.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var late sync.WaitGroup
	defer late.Wait()
	w := &worker{shard: st.server.handler.metrics.shard(0)}
	reader := bufio.NewReaderSize(st.conn, 4096)
	var size [2]byte
	query := make([]byte, 0, 512)
	for {
		st.conn.SetReadDeadline(time.Now().Add(streamIdle)) // fails only when closed: so does the read
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
		if !st.answer(ctx, query, w, &late) {
			return
		}
	}
}

// answer answers one query; false means that the connection is to be closed.
func (st *stream) answer(ctx context.Context, query []byte, w *worker, late *sync.WaitGroup) bool {
	began := time.Now()
	w.now = uint32(began.Unix())
	h := st.server.handler
	if isTransfer(query) {
		return h.transfer(query, st.from.Addr().Unmap(), st.write) == nil
	}
	reply, forward := h.answer(nil, query, st.from, false, w)
	if !forward {
		w.shard.observe(time.Since(began), 1)
		// A packet that deserves no reply is not from a DNS client.
		return len(reply) > 0 && st.write(reply) == nil
	}
	select {
	case st.waiting <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	late.Add(1)
	done := sync.OnceFunc(func() {
		<-st.waiting
		late.Done()
	})
	st.server.resolve(ctx, append([]byte(nil), query...), st.from.Addr().Unmap(), false, func(reply []byte) {
		defer done()
		// A client that has gone away is no error of ours.
		_ = st.write(reply)
	})
	return true
}

// write sends one message.
func (st *stream) write(message []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.out = append(binary.BigEndian.AppendUint16(st.out[:0], uint16(len(message))), message...)
	if err := st.conn.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	_, err := st.conn.Write(st.out)
	return err
}
