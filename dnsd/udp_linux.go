package dnsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canReusePort = true

// batchSize is how many packets one system call reads or writes.
const batchSize = 64

// receiveBuffer holds a burst while a worker is busy, bytes.
const receiveBuffer = 4 << 20

// controlSocket prepares a socket before it is bound.
func controlSocket(network, _ string, raw syscall.RawConn) error {
	var optErr error
	err := raw.Control(func(fd uintptr) {
		if network[:3] != "udp" {
			return
		}
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		// More than net.core.rmem_max needs CAP_NET_ADMIN; what we get suffices too.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
	})
	return errors.Join(err, optErr)
}

// mmsghdr is the struct of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// batch is the memory of one worker: packets in, packets out. Only its
// goroutine touches it.
type batch struct {
	raw      syscall.RawConn
	in       [batchSize]mmsghdr
	inVec    [batchSize]unix.Iovec
	peers    [batchSize]unix.RawSockaddrInet6 // large enough for IPv4 too
	queries  [batchSize][maxQuery]byte
	buffers  [batchSize][maxUDP]byte // for replies
	received int
	errno    syscall.Errno
	out      outgoing
}

// maxQuery is the longest UDP query taken; longer ones arrive cut and are
// answered as malformed.
const maxQuery = 2048

func newBatch(conn *net.UDPConn) (*batch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batch{raw: raw}
	for i := range batchSize {
		b.inVec[i].Base = &b.queries[i][0]
		b.inVec[i].SetLen(maxQuery)
		b.in[i].header.Name = (*byte)(unsafe.Pointer(&b.peers[i]))
		b.in[i].header.Iov = &b.inVec[i]
		b.in[i].header.SetIovlen(1)
	}
	return b, b.out.prepare(raw)
}

// receive waits for packets and reads as many as are there.
func (b *batch) receive(read func(fd uintptr) bool) (int, error) {
	for i := range batchSize {
		b.in[i].header.Namelen = unix.SizeofSockaddrInet6
	}
	if err := b.raw.Read(read); err != nil {
		return 0, err
	}
	if b.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", b.errno)
	}
	return b.received, nil
}

// tryReceive is called by the poller: false is "wait until readable".
func (b *batch) tryReceive(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	b.errno, b.received = errno, int(n)
	return errno != unix.EAGAIN && errno != unix.EINTR
}

// peer is who sent packet i.
func (b *batch) peer(i int) netip.AddrPort {
	sa := &b.peers[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	if sa.Family == unix.AF_INET {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port)
}

// serveUDP answers what arrives at conn until it is closed: a batch in, a
// batch out, with two system calls for all of it.
func (s *Server) serveUDP(ctx context.Context, conn *net.UDPConn, w *worker) error {
	b, err := newBatch(conn)
	if errors.Is(err, net.ErrClosed) {
		return nil // the end came before the beginning
	}
	if err != nil {
		return fmt.Errorf("serve UDP on %s: %w", conn.LocalAddr(), err)
	}
	read, write := b.tryReceive, b.out.trySend
	for {
		n, err := b.receive(read)
		if err != nil {
			if !s.retry(ctx, "receive", err) {
				return nil
			}
			continue
		}
		began := time.Now()
		w.now = uint32(began.Unix())
		b.out.queued = 0
		for i := range n {
			s.serveOne(ctx, conn, b, i, w)
		}
		if b.out.queued == 0 {
			continue
		}
		b.out.group()
		if err := b.raw.Write(write); err != nil && !s.retry(ctx, "send", err) {
			return nil
		}
		w.shard.observe(time.Since(began), b.out.queued)
	}
}

// serveOne answers packet i of b or has it resolved.
func (s *Server) serveOne(ctx context.Context, conn *net.UDPConn, b *batch, i int, w *worker) {
	query := b.queries[i][:min(b.in[i].length, maxQuery)]
	from := b.peer(i)
	reply, forward := s.handler.answer(b.buffers[i][:0], query, from, true, w)
	switch {
	case forward:
		s.resolve(ctx, slices.Clone(query), from.Addr().Unmap(), true, s.sendTo(conn, from, b.peers[i]))
	case len(reply) > 0:
		b.out.queue(&b.in[i].header, &b.peers[i], reply)
	}
}

// sendTo is how a reply that comes later goes back to where its query came
// from, with an IPv6 zone where there is one.
func (s *Server) sendTo(conn *net.UDPConn, from netip.AddrPort, peer unix.RawSockaddrInet6) func([]byte) {
	if peer.Family == unix.AF_INET6 && peer.Scope_id != 0 {
		if nic, err := net.InterfaceByIndex(int(peer.Scope_id)); err == nil {
			from = netip.AddrPortFrom(from.Addr().WithZone(nic.Name), from.Port())
		}
	}
	return func(reply []byte) {
		// A client that has gone away is no error of ours.
		_, _ = conn.WriteToUDPAddrPort(reply, from)
	}
}
