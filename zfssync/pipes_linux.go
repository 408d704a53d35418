package zfssync

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// widen enlarges a pipe, where x is one; without the right to it stays as it is (fcntl(2), F_SETPIPE_SZ).
func widen(x any) {
	f, ok := x.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) // it is only faster so
	})
}
