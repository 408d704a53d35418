package api

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUID asks for LOCAL_PEERCRED, see unix(4).
func peerUID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Xucred
	var sysErr error
	err = raw.Control(func(fd uintptr) {
		cred, sysErr = unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED)
	})
	if err != nil {
		return 0, err
	}
	if sysErr != nil {
		return 0, sysErr
	}
	return int(cred.Uid), nil
}

const solLocal = 0 // SOL_LOCAL of sys/un.h
