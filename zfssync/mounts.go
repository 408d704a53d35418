package zfssync

import (
	"fmt"
	"slices"

	"github.com/moby/sys/mountinfo"
)

// unmountTree takes down every mount at and below path, the youngest first. None is success.
func unmountTree(path string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path))
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	for _, m := range slices.Backward(mounts) {
		if err := unmountAll(m.Mountpoint); err != nil {
			return err
		}
	}
	return nil
}
