package netd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// conn is one netlink socket in one network namespace. Unlike the library it sends several requests in one sendmsg(2):
// the kernel works through all of them before the call returns, so a SIGKILL never falls between two of a batch, and
// a batch costs one wait instead of one for each request.
type conn struct {
	fd   int
	seq  uint32
	buf  []byte
	data []byte // body of the last message that was no acknowledgement
}

// replyTimeout bounds one answer of the kernel; the rtnl lock may be held for long by others.
const replyTimeoutSeconds = 20

// dial opens a socket in the network namespace of the calling thread.
func dial(protocol int) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	tv := unix.Timeval{Sec: replyTimeoutSeconds}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1), // a sentence beside the errno
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1), // not the whole request in return
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("set up netlink socket: %w", err)
	}
	return &conn{fd: fd, buf: make([]byte, 32<<10)}, nil
}

func (c *conn) close() { _ = unix.Close(c.fd) }

// do sends reqs, up to maxBatch at once, and returns one result per request. All of them are tried, whatever becomes of the others.
func (c *conn) do(reqs ...*nl.NetlinkRequest) ([]error, error) {
	all := make([]error, 0, len(reqs))
	for part := range slices.Chunk(reqs, maxBatch) {
		for _, r := range part {
			r.Flags |= unix.NLM_F_ACK
		}
		errs, err := c.exchange(part)
		if err != nil {
			return nil, err
		}
		all = append(all, errs...)
	}
	return all, nil
}

// maxBatch bounds the answers that wait in the socket's receive buffer, which loses what does not fit.
const maxBatch = 32

// transaction sends an nfnetlink batch, first and last of reqs being its begin and end: all happens, or nothing.
func (c *conn) transaction(reqs []*nl.NetlinkRequest) error {
	for _, r := range reqs[1 : len(reqs)-1] {
		r.Flags |= unix.NLM_F_ACK
	}
	errs, err := c.exchange(reqs)
	if err != nil {
		return err
	}
	return errors.Join(errs...)
}

// exchange sends reqs and waits for the answer to each that wants one, or for an error to one that does not.
func (c *conn) exchange(reqs []*nl.NetlinkRequest) ([]error, error) {
	first, left := c.seq+1, 0
	var out []byte
	for _, r := range reqs {
		c.seq++
		r.Seq = c.seq
		if r.Flags |= unix.NLM_F_REQUEST; r.Flags&unix.NLM_F_ACK != 0 {
			left++
		}
		out = append(out, r.Serialize()...)
	}
	if err := unix.Sendto(c.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("send to netlink: %w", err)
	}
	errs := make([]error, len(reqs))
	for left > 0 {
		n, _, err := unix.Recvfrom(c.fd, c.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("receive from netlink: %w", err)
		}
		for b := c.buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
			size := binary.NativeEndian.Uint32(b)
			if int(size) < unix.SizeofNlMsghdr || int(size) > len(b) {
				return nil, fmt.Errorf("receive from netlink: message of %d bytes in %d", size, len(b))
			}
			kind, flags, seq := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), binary.NativeEndian.Uint32(b[8:])
			if kind != unix.NLMSG_ERROR {
				c.data = append([]byte(nil), b[unix.SizeofNlMsghdr:size]...)
			}
			if i := int(seq - first); kind == unix.NLMSG_ERROR && i >= 0 && i < len(errs) {
				errs[i] = ackError(b[unix.SizeofNlMsghdr:size], flags)
				if left--; reqs[i].Flags&unix.NLM_F_ACK == 0 {
					return errs, nil // the batch as a whole was refused
				}
			}
			b = b[min(len(b), int(size+3)&^3):]
		}
	}
	return errs, nil
}

// must is do for requests that must all succeed.
func (c *conn) must(reqs ...*nl.NetlinkRequest) error {
	errs, err := c.do(reqs...)
	if err != nil {
		return err
	}
	return errors.Join(errs...)
}

// ackError reads struct nlmsgerr and its extended attributes (netlink(7)).
func ackError(b []byte, flags uint16) error {
	if len(b) < 4 {
		return errors.New("short answer from netlink")
	}
	code := int32(binary.NativeEndian.Uint32(b)) //nolint:gosec // the kernel's int
	if code == 0 {
		return nil
	}
	err := error(unix.Errno(-code))
	const echo = 4 + unix.SizeofNlMsghdr // CAP_ACK: only the request's header is echoed
	if flags&unix.NLM_F_ACK_TLVS != 0 && len(b) > echo {
		if attrs, e := nl.ParseRouteAttr(b[echo:]); e == nil {
			for _, a := range attrs {
				if a.Attr.Type == nl.NLMSGERR_ATTR_MSG {
					err = fmt.Errorf("%w (%s)", err, unix.ByteSliceToString(a.Value))
				}
			}
		}
	}
	return err
}

// conns keeps idle sockets of the host's namespace.
type conns struct {
	open func() (*conn, error)
	mu   sync.Mutex
	idle []*conn // guarded by mu
}

// with runs fn with a socket of its own. After an error of the socket itself the socket is not used again.
func (p *conns) with(fn func(*conn) error) error {
	p.mu.Lock()
	var c *conn
	if n := len(p.idle); n > 0 {
		c, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	if c == nil {
		var err error
		if c, err = p.open(); err != nil {
			return err
		}
	}
	err := fn(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= 16 || err != nil {
		c.close()
		return err
	}
	p.idle = append(p.idle, c)
	return nil
}

func (p *conns) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
}
