package storetest

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func owner(tb testing.TB, path string) uint32 {
	tb.Helper()
	info, err := os.Lstat(path)
	must(tb, err)
	return info.Sys().(*syscall.Stat_t).Uid
}

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

// mknod makes a null device.
func mknod(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, 1<<8|3) }
