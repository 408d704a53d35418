package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// mounter is what of mounting differs between systems.
type mounter struct{ ns *userNamespaces }

func newMounter(run.Runner) mounter {
	return mounter{ns: &userNamespaces{fds: map[IDMap]int{}}}
}

func (m mounter) close() { m.ns.close() }

// rootProps of the topmost dataset.
func (m mounter) rootProps() []assign { return []assign{{"devices", "off"}, {"xattr", "on"}} }

// harden takes devices out of a mounted dataset: zfs-fuse does not heed the property.
func (m mounter) harden(at string) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(unix.AT_FDCWD, at, 0, &attr); err != nil {
		return fmt.Errorf("set nodev at %s: %w", at, err)
	}
	return nil
}

// noIDMap says why mounts of the file system at path cannot be id-mapped, "" when they can.
func (m mounter) noIDMap(path string) string {
	err := m.ns.use(IDMap{HostBase: 1 << 20, Size: 1 << 16}, func(userns int) error {
		fd, err := mappedTree(path, userns)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})
	if err != nil {
		return "this ZFS has no id-mapped mounts (OpenZFS 2.2 on Linux 5.19 has; zfs-fuse has none): " + err.Error()
	}
	return ""
}

func (m mounter) bind(_ context.Context, source, at string, opt BindOptions) error {
	err := m.ns.use(opt.IDMap, func(userns int) error { return bindMapped(source, at, userns, opt.ReadOnly) })
	if errors.Is(err, syscall.EINVAL) && !opt.IDMap.IsZero() {
		return fmt.Errorf("%w: its file system has no id-mapped mounts; give the jail no id range", err)
	}
	return err
}

// same reports whether at shows the directory src as wished.
func (m mounter) same(at, _ string, src os.FileInfo, opt BindOptions) (bool, error) {
	return sameMount(at, src, opt)
}
