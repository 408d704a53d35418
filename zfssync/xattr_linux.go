package zfssync

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// setXattr sets an extended attribute; a file system without user attributes is no error.
func setXattr(f *os.File, name, value string) error {
	err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0)
	if errors.Is(err, unix.ENOTSUP) && name != capabilityXattr && name != opaqueXattr {
		return nil
	}
	if err != nil {
		return fmt.Errorf("set attribute %s: %w", name, err)
	}
	return nil
}

// xattrs returns the extended attributes of an open file, those of file capabilities and users' and overlayfs's. POSIX
// ACLs, which are not stored as they are read, and labels of the host's security modules are not among them.
func xattrs(f *os.File) (map[string]string, error) {
	fd := int(f.Fd())
	names := make([]byte, 1024)
	n, err := unix.Flistxattr(fd, names)
	for errors.Is(err, unix.ERANGE) {
		names = make([]byte, 4*len(names))
		n, err = unix.Flistxattr(fd, names)
	}
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes: %w", err)
	}
	out := map[string]string{}
	for _, name := range strings.Split(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if !keptXattr(name) {
			continue
		}
		value := make([]byte, 64<<10) // the kernel's limit, XATTR_SIZE_MAX
		n, err := unix.Fgetxattr(fd, name, value)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("get attribute %s: %w", name, err)
		}
		out[name] = string(value[:n])
	}
	return out, nil
}

// mknod makes a device or fifo at name in the open directory dir.
func mknod(dir *os.File, name string, mode uint32, major, minor int64) error {
	return unix.Mknodat(int(dir.Fd()), name, mode, int(unix.Mkdev(uint32(major), uint32(minor)))) //nolint:gosec // checked
}
