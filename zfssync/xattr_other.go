//go:build !linux

package zfssync

import (
	"os"

	"golang.org/x/sys/unix"
)

// setXattr does nothing: file capabilities and their attribute are Linux's.
func setXattr(*os.File, string, string) error { return nil }

func xattrs(*os.File) (map[string]string, error) { return nil, nil }

// mknod makes a device or fifo at name in the open directory dir.
func mknod(dir *os.File, name string, mode uint32, major, minor int64) error {
	return unix.Mknodat(int(dir.Fd()), name, mode, unix.Mkdev(uint32(major), uint32(minor))) //nolint:gosec // checked
}
