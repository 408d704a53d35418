package zfssync

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// lchflags takes all flags off path, a link itself included (lchflags(2)).
func lchflags(path string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LCHFLAGS, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}
