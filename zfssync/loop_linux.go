package zfssync

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// loopControl gives out loop devices (loop(4)).
const loopControl = "/dev/loop-control"

// loopTries bounds how often a device that somebody else took first is given up for the next one.
const loopTries = 256

// attachLoop returns the loop device of a file, open: the one that it has, else a new one. It goes by itself when nobody has it
// open or mounted any more. Two devices of one file would be two file systems in it, which do not know of each other.
func attachLoop(path string) (_ *os.File, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	dev, err := loopOf(file)
	if err != nil || dev != nil {
		return dev, err
	}
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("ask for a loop device: %w", err)
	}
	defer control.Close()
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("ask for a loop device: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("open a loop device: %w", err)
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{
			Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return dev, nil
		}
		_ = dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("attach %s to %s (Linux 5.8): %w", path, dev.Name(), err)
		}
	}
	return nil, fmt.Errorf("attach %s to a loop device: others took %d before us", path, loopTries)
}

// loopOf returns the loop device that a file has, open, or nil.
func loopOf(file *os.File) (*os.File, error) {
	var want unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &want); err != nil {
		return nil, fmt.Errorf("stat %s: %w", file.Name(), err)
	}
	all, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, backing := range all {
		// The name alone says little, but keeps us from touching what is others'.
		text, err := os.ReadFile(backing)
		name := strings.TrimSuffix(strings.TrimSpace(string(text)), " (deleted)")
		if err != nil || filepath.Base(name) != filepath.Base(file.Name()) {
			continue // an error: it went a moment ago
		}
		dev, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(filepath.Dir(backing))), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		info, err := unix.IoctlLoopGetStatus64(int(dev.Fd()))
		if err == nil && info.Device == want.Dev && info.Inode == want.Ino {
			return dev, nil
		}
		_ = dev.Close()
	}
	return nil, nil
}

// allocate makes the file be of that size with all its blocks set aside, so that nothing that is written into it later finds
// the disk full. A file system that cannot do so gets a file with holes. What failed leaves the file as it was.
func allocate(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	was, err := f.Stat()
	if err != nil {
		return err
	}
	// What is asked for in vain would fill the disk first, for all others on it.
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return fmt.Errorf("free space of %s: %w", path, err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; size-was.Size() > free {
		return fmt.Errorf("set %d bytes aside: %d are free: %w", size, free, syscall.ENOSPC)
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	for errors.Is(err, syscall.EINTR) { // a signal of the runtime
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	}
	if errors.Is(err, syscall.EOPNOTSUPP) {
		err = f.Truncate(size)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("set %d bytes aside: %w", size, err), f.Truncate(was.Size()))
	}
	return nil
}
