package seqpacket

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// PeerUID is the uid, on this host, of the process that connected: unix(7),
// SO_PEERCRED.
func PeerUID(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); optErr == nil {
			uid = cred.Uid
		}
	})
	return uid, errors.Join(err, optErr)
}
