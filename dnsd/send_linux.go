package dnsd

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A reply costs most where the kernel takes it through its network stack. A
// client with many queries under way gets several replies at once, and those of
// one length go through together (UDP_SEGMENT of udp(7), since Linux 4.18): what
// arrives are single packets as ever.
const (
	maxSegments = 32
	headSlots   = 128 // of the table of groups: a power of two above batchSize
)

// outgoing is what one worker sends together.
type outgoing struct {
	replies  [batchSize]outReply
	queued   int
	segments bool // the kernel takes several replies in one message

	messages [batchSize]mmsghdr
	vectors  [batchSize]unix.Iovec // of all messages, one after the other
	controls [batchSize]control
	keys     [batchSize]uint64
	groups   int              // messages
	sent     int              // of them
	heads    [headSlots]uint8 // number of a group and one, by hash of its key
}

// outReply is one reply. Those with the same key may travel together.
type outReply struct {
	data    *byte
	name    *byte  // the address
	key     uint64 // IPv4 address, port and length; 0: it travels alone
	length  uint32
	nameLen uint32
	group   uint8
}

// control is the cmsg(3) that says how long each segment is.
type control struct {
	header unix.Cmsghdr
	size   uint16
	_      [6]byte
}

// prepare asks what the kernel can do.
func (o *outgoing) prepare(raw syscall.RawConn) error {
	var optErr error
	err := raw.Control(func(fd uintptr) {
		_, optErr = unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT)
	})
	o.segments = optErr == nil
	for i := range o.controls {
		c := &o.controls[i]
		c.header.Level, c.header.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.header.SetLen(unix.CmsgLen(2))
	}
	return err
}

// queue adds reply, to the peer that in came from, to those that are sent
// together.
func (o *outgoing) queue(in *unix.Msghdr, peer *unix.RawSockaddrInet6, reply []byte) {
	r := &o.replies[o.queued]
	*r = outReply{data: &reply[0], name: in.Name, nameLen: in.Namelen, length: uint32(len(reply))}
	if o.segments && peer.Family == unix.AF_INET {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(peer))
		r.key = uint64(*(*uint32)(unsafe.Pointer(&sa.Addr)))<<32 | uint64(sa.Port)<<16 | uint64(len(reply))
	}
	o.queued++
}

// group makes messages of the replies that are queued.
func (o *outgoing) group() {
	o.groups, o.sent = 0, 0
	clear(o.heads[:])
	var counts, next [batchSize]uint8
	for i := range o.replies[:o.queued] {
		r := &o.replies[i]
		r.group = o.groupOf(r.key, &counts)
		counts[r.group]++
	}
	at := 0
	for g := range o.groups {
		h := &o.messages[g].header
		h.Iov, h.Control = &o.vectors[at], nil
		h.SetIovlen(int(counts[g]))
		h.SetControllen(0)
		next[g] = uint8(at)
		at += int(counts[g])
	}
	for i := range o.replies[:o.queued] {
		r := &o.replies[i]
		v := &o.vectors[next[r.group]]
		v.Base = r.data
		v.SetLen(int(r.length))
		next[r.group]++
		h := &o.messages[r.group].header
		h.Name, h.Namelen = r.name, r.nameLen
		if counts[r.group] > 1 {
			c := &o.controls[r.group]
			c.size = uint16(r.length)
			h.Control = (*byte)(unsafe.Pointer(c))
			h.SetControllen(int(unsafe.Sizeof(*c)))
		}
	}
}

// groupOf is the group for a reply with key: one that is open, or a new one.
func (o *outgoing) groupOf(key uint64, counts *[batchSize]uint8) uint8 {
	if key != 0 {
		head := &o.heads[key*0x9e3779b97f4a7c15>>57] // Fibonacci hashing: 7 bits
		if g := *head; g != 0 && o.keys[g-1] == key && counts[g-1] < maxSegments {
			return g - 1
		}
		*head = uint8(o.groups) + 1
	}
	g := o.groups
	o.keys[g] = key
	o.groups++
	return uint8(g)
}

// trySend is called by the poller until all is sent. A message that the kernel
// refuses (its address is unreachable, a firewall says no) is passed over.
func (o *outgoing) trySend(fd uintptr) bool {
	for o.sent < o.groups {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.messages[o.sent])), uintptr(o.groups-o.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			o.sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			o.segments = o.segments && errno != unix.EIO // the device cannot do checksums
			o.single(fd, &o.messages[o.sent].header)
			o.sent++
		}
	}
	return true
}

// single sends the replies of a message that was refused one by one: segments
// are refused for more reasons than packets are, a small MTU for one.
func (o *outgoing) single(fd uintptr, h *unix.Msghdr) {
	if h.Control == nil {
		return
	}
	one := *h
	one.Control = nil
	one.SetControllen(0)
	one.SetIovlen(1)
	for _, v := range unsafe.Slice(h.Iov, h.Iovlen) {
		one.Iov = &v
		// What cannot be sent is lost, as packets are.
		_, _, _ = unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&one)), unix.MSG_DONTWAIT)
	}
}
