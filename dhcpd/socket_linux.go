package dhcpd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// deviceMTU asks the namespace that conn is of; 0 if it does not say.
func deviceMTU(conn *net.UDPConn, device string) (mtu int) {
	ifr, err := unix.NewIfreq(device)
	if err != nil {
		return 0
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // of a closed one: 0
		if unix.IoctlIfreq(int(fd), unix.SIOCGIFMTU, ifr) == nil {
			mtu = int(ifr.Uint32())
		}
	})
	return mtu
}

// ageOf is how long ago the kernel got a packet, by the control message that
// came with it; 0 where there is none.
func ageOf(oob []byte) time.Duration {
	const header, body = unix.SizeofCmsghdr, 16
	if len(oob) < header+body {
		return 0
	}
	level, typ := binary.NativeEndian.Uint32(oob[header-8:]), binary.NativeEndian.Uint32(oob[header-4:])
	if level != unix.SOL_SOCKET || typ != unix.SO_TIMESTAMPNS {
		return 0
	}
	sec, nsec := binary.NativeEndian.Uint64(oob[header:]), binary.NativeEndian.Uint64(oob[header+8:])
	return time.Since(time.Unix(int64(sec), int64(nsec)))
}

// prepare binds a socket to one interface, so that broadcasts go out there and
// nothing from elsewhere comes in.
func prepare(fd int, device string) error {
	err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
		// On a bridge inside of one machine nobody fills in checksums, and clients that read raw packets drop what has
		// a wrong one. None at all is right for them all (RFC 768).
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1),
	)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) // without it no packet is ever too late
	if device != "" {
		err = errors.Join(err, unix.BindToDevice(fd, device))
	}
	if err != nil {
		return fmt.Errorf("set socket options: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as the host allows
	}
	return nil
}
