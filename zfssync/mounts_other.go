//go:build !linux

package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// mounter is what of mounting differs between systems.
type mounter struct{ run run.Runner }

func newMounter(r run.Runner) mounter { return mounter{r} }

func (m mounter) close() {}

// rootProps of the topmost dataset: device nodes work in a devfs alone.
func (m mounter) rootProps() []assign { return nil }

func (m mounter) harden(string) error { return nil }

func (m mounter) noIDMap(string) string {
	return "jails of this system have no ids of their own"
}

// bind mounts source at at by mount_nullfs(8).
func (m mounter) bind(ctx context.Context, source, at string, opt BindOptions) error {
	mode := "rw"
	if opt.ReadOnly {
		mode = "ro"
	}
	_, err := m.run.Run(ctx, run.Cmd{Argv: []string{"mount", "-t", "nullfs", "-o", mode, source, at}})
	return err
}

// same reports whether at shows source as wished.
func (m mounter) same(at, source string, _ os.FileInfo, opt BindOptions) (bool, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(at))
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return false, fmt.Errorf("stat %s: %w", at, err)
	}
	return mounts[len(mounts)-1].Source == source && (st.Flags&unix.MNT_RDONLY != 0) == opt.ReadOnly, nil
}

// isMounted reports whether something is mounted at path.
func isMounted(path string) (bool, error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return mountinfo.Mounted(path)
}

// unmountAll takes down everything mounted at path itself.
func unmountAll(path string) error {
	for range 16 {
		mounted, err := isMounted(path)
		if err != nil || !mounted {
			return err
		}
		err = unix.Unmount(path, 0)
		if errors.Is(err, unix.EBUSY) { // by a process that is just dying
			err = unix.Unmount(path, unix.MNT_FORCE)
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	return fmt.Errorf("unmount %s: still mounted after 16 times", path)
}

// syncFS writes what is in memory to disk.
func syncFS(string) error {
	return unix.Sync()
}

// unmount takes down every mount at and below path.
func (m mounter) unmount(path string) error { return unmountTree(path) }
