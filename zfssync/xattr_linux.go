package zfssync

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// setXattr sets an extended attribute; a file system without user attributes is no error.
func setXattr(f *os.File, name, value string) error {
	err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
	if errors.Is(err, unix.ENOTSUP) && name != "security.capability" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("set attribute %s: %w", name, err)
	}
	return nil
}

// capability returns the file capabilities of an open file as xattr(7) stores them, "" for none.
func capability(f *os.File) (string, error) {
	buf := make([]byte, 64)
	n, err := unix.Fgetxattr(int(f.Fd()), "security.capability", buf)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("get file capabilities: %w", err)
	}
	return string(buf[:n]), nil
}
