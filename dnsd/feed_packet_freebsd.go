package dnsd

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// writeMessage sends data as one message. Since 15 write(2) marks no end of one (socket(2), SEQUENTIAL PACKET SOCKET TYPE), and may
// send a part.
func writeMessage(conn *net.UnixConn, data []byte) error {
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

// makeRoom lets a whole message fit: before 15 the kernel takes 8 KiB of its own accord, and refuses larger ones.
func makeRoom(conn *net.UnixConn) error {
	return errors.Join(conn.SetWriteBuffer(2*feedLimit), conn.SetReadBuffer(2*feedLimit))
}
