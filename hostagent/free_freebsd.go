package hostagent

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// freeBytes is what may still be written below path. It is below 0 where root has taken of its reserve.
func freeBytes(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", path, err)
	}
	return max(st.Bavail, 0) * int64(st.Bsize), nil //nolint:gosec // blocks are small
}
