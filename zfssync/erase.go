package zfssync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
)

// Erase removes a directory with all that is in it; one that is not there is success. It refuses where something is mounted
// below: that may be somebody's data, and a removal would go right through.
func Erase(path string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(resolved(path)))
	if err != nil {
		return fmt.Errorf("remove %s: read mounts: %w", path, err)
	}
	if len(mounts) > 0 {
		return fmt.Errorf("remove %s: %s is mounted, unmount it first", path, mounts[len(mounts)-1].Mountpoint)
	}
	err = os.RemoveAll(path)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if cerr := clearFlags(path, lchflags); cerr != nil {
		return errors.Join(err, cerr)
	}
	return os.RemoveAll(path)
}

// resolved is path without links, as the kernel lists mounts.
func resolved(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	return path
}

// clearFlags takes the flags of chflags(1) off everything in a directory: root of a jail can set uchg, and whoever has it
// is removed by nobody. take acts on a link itself. A directory is cleared before what is in it.
func clearFlags(dir string, take func(path string) error) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := take(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("take flags off %s: %w", path, err)
		}
		return nil
	})
}
