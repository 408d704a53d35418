package seqpacket

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// Write sends data as one message. Since 15 write(2) marks no end of one (socket(2), SEQUENTIAL PACKET SOCKET TYPE), and may
// send a part.
func Write(conn *net.UnixConn, data []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		for len(data) > 0 {
			n, err := unix.SendmsgN(int(fd), data, nil, nil, unix.MSG_EOR|unix.MSG_NOSIGNAL)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return false // until there is room, or the deadline has passed
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				sendErr = err
				return true
			}
			data = data[n:]
		}
		return true
	})
	return errors.Join(err, sendErr)
}

// MakeRoom lets a whole message of limit bytes fit: before 15 the kernel takes 8 KiB of its own accord, and refuses larger ones.
func MakeRoom(conn *net.UnixConn, limit int) error {
	return errors.Join(conn.SetWriteBuffer(2*limit), conn.SetReadBuffer(2*limit))
}
