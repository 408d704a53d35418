package seqpacket

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// PeerUID is the uid of the process that connected: unix(4), LOCAL_PEERCRED.
func PeerUID(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Xucred
		if cred, optErr = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED); optErr == nil {
			uid = cred.Uid
		}
	})
	return uid, errors.Join(err, optErr)
}
