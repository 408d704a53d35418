package zfssync

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// overlayMount is the whole wish for one overlay.
type overlayMount struct {
	name     string   // shown as the source in /proc/self/mountinfo
	target   string   // existing directory
	lowers   []string // highest first, absolute
	upper    string
	work     string
	host     bool // the host's root is the lowest layer
	volatile bool
}

// places are directories where detached mounts are attached while a new overlay is made from them: before Linux 6.15
// overlayfs refuses layers on a detached mount. With prefix "" nothing is attached.
type places struct {
	prefix string
	used   []string
}

// dir makes the place called name.
func (p *places) dir(name string) (string, error) {
	at := p.prefix + "." + name
	if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	p.used = append(p.used, at)
	return at, nil
}

// attach attaches the detached mount fd.
func (p *places) attach(fd int, name string) error {
	if p.prefix == "" {
		return nil
	}
	at, err := p.dir(name)
	if err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach at %s: %w", at, err)
	}
	return nil
}

// release detaches all; the overlay made meanwhile has its own references.
func (p *places) release() error {
	var errs []error
	for _, at := range slices.Backward(p.used) {
		errs = append(errs, unmountAll(at), os.Remove(at))
	}
	return errors.Join(errs...)
}

// mappedTree clones the mount at path, from path downwards, with the id map of userns.
func mappedTree(path string, userns int) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("clone mount of %s: %w", path, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("id-map mount of %s: %w", path, err)
	}
	return fd, nil
}

// errNoLayerFD means that the kernel wants layers by path.
var errNoLayerFD = errors.New("kernel takes no layers by descriptor")

// overlayFD makes an overlay with the new mount API and returns it as a detached mount; overlayfs takes layers by
// descriptor since Linux 6.13. upper and work are -1 for a read-only one.
func overlayFD(name string, lowers []int, upper, work int, volatile bool) (int, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("%w: fsopen: %w", errNoLayerFD, err)
	}
	defer unix.Close(fs)
	for i, fd := range lowers {
		err := unix.FsconfigSetFd(fs, "lowerdir+", fd)
		if errors.Is(err, unix.EINVAL) && i == 0 {
			return -1, fmt.Errorf("%w: %w", errNoLayerFD, err)
		}
		if err != nil {
			return -1, fmt.Errorf("lowerdir+: %w%s", err, contextLog(fs))
		}
	}
	if upper >= 0 {
		if err := unix.FsconfigSetFd(fs, "upperdir", upper); err != nil {
			return -1, fmt.Errorf("upperdir: %w%s", err, contextLog(fs))
		}
		if err := unix.FsconfigSetFd(fs, "workdir", work); err != nil {
			return -1, fmt.Errorf("workdir: %w%s", err, contextLog(fs))
		}
	}
	if volatile {
		if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
			return -1, fmt.Errorf("volatile: %w", err)
		}
	}
	for _, o := range [][2]string{{"source", name}, {"index", "off"}, {"metacopy", "off"}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return -1, fmt.Errorf("%s=%s: %w%s", o[0], o[1], err, contextLog(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("create overlay: %w%s", err, contextLog(fs))
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return mnt, nil
}

// overlayAt mounts an overlay with mount(2). Layers are named by /proc/self/fd, so that neither the page limit of the
// option string nor a ':' in a path matters.
func overlayAt(name, target string, lowers []int, upper, work int, volatile bool) error {
	path := func(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
	names := make([]string, len(lowers))
	for i, fd := range lowers {
		names[i] = path(fd)
	}
	opts := "lowerdir=" + strings.Join(names, ":") + ",index=off,metacopy=off"
	if upper >= 0 {
		opts += ",upperdir=" + path(upper) + ",workdir=" + path(work)
	}
	if volatile {
		opts += ",volatile"
	}
	if len(opts) >= os.Getpagesize() {
		return fmt.Errorf("%d layers are too many for mount(2)", len(lowers))
	}
	return unix.Mount(name, target, "overlay", unix.MS_NODEV, opts)
}

// newTmpfs returns a new tmpfs as a detached mount.
func newTmpfs() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen tmpfs: %w", err)
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{{"source", "rexcarcer-mask"}, {"mode", "0755"}, {"size", "1m"}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return -1, fmt.Errorf("tmpfs %s=%s: %w", o[0], o[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("create tmpfs: %w", err)
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}

// contextLog returns what the kernel says about a failed fsconfig call, which errno does not.
func contextLog(fs int) string {
	buf := make([]byte, 1024)
	n, err := unix.Read(fs, buf)
	if err != nil || n <= 0 {
		return ""
	}
	return " (" + strings.TrimSpace(string(buf[:n])) + ")"
}

// bindMapped mounts source at target. userns -1: ids stay.
func bindMapped(source, target string, userns int, readOnly bool) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("clone mount of %s: %w", source, err)
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if userns >= 0 {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(userns)
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("set attributes of the mount of %s: %w", source, err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach at %s: %w", target, err)
	}
	return nil
}

// isMounted reports whether something is mounted at path.
func isMounted(path string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("stat %s: %w", path, err)
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// unmountAll takes down everything mounted at path itself. MNT_DETACH, because a process that is just dying may still
// hold it; the data below is reached by no path any more either way.
func unmountAll(path string) error {
	for range 16 {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	return fmt.Errorf("unmount %s: still mounted after 16 times", path)
}

// syncFS writes the file system of path to disk.
func syncFS(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Syncfs(fd); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
