package netd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// inNS runs fn on a thread that is in the network namespace of descriptor ns, and only for so long.
func inNS(ns int, fn func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer func() {
		// A thread that cannot go home stays locked and dies with its goroutine, rather than run others abroad.
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		_ = unix.Close(home)
	}()
	if ns >= 0 {
		err = unix.Setns(ns, unix.CLONE_NEWNET)
	} else {
		err = unix.Unshare(unix.CLONE_NEWNET)
	}
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return fn()
}

// inNewNS runs fn on a thread in a fresh network namespace, which lives on only if fn sees to it.
func inNewNS(fn func() error) error { return inNS(-1, fn) }

// namespace is a network namespace mounted at path, and a rtnetlink socket inside it.
type namespace struct {
	path  string
	fd    int
	nl    *conn
	fresh bool // made by this call: it holds nothing but lo
}

func (n *namespace) close() {
	n.nl.close()
	_ = unix.Close(n.fd)
}

// openNS opens the namespace mounted at path; fs.ErrNotExist says that there is none, though a file may be there.
func openNS(path string) (*namespace, error) {
	fd, err := openNSFile(path)
	if err != nil {
		return nil, err
	}
	n := &namespace{path: path, fd: fd}
	err = inNS(fd, func() error {
		n.nl, err = dial(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return n, nil
}

func openNSFile(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	var st unix.Statfs_t
	if err = unix.Fstatfs(fd, &st); err == nil && st.Type != unix.NSFS_MAGIC {
		err = fs.ErrNotExist // the file was made and then we were killed, or the machine was started anew
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return fd, nil
}

// makeNS opens the namespace at path, or makes it with these sysctls (path below /proc/sys/net to value).
func makeNS(path string, sysctls [][2]string, step func(string)) (*namespace, error) {
	n, err := openNS(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return n, err
	}
	if n, err = newNS(sysctls); err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", path, err)
	}
	step("ns-made")
	return n, n.mount(path, step)
}

// newNS makes a namespace without a name: it ends with this process, or when it is closed.
func newNS(sysctls [][2]string) (*namespace, error) {
	n := &namespace{fresh: true}
	err := inNewNS(func() (err error) {
		for _, s := range sysctls {
			if err := setSysctl(s[0], s[1]); err != nil {
				return err
			}
		}
		if n.nl, err = dial(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		if n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			n.nl.close()
		}
		return err
	})
	return n, err
}

// mount gives a namespace its name; it is closed if that fails.
func (n *namespace) mount(path string, step func(string)) error {
	n.path = path
	f, err := unix.Open(path, unix.O_CREAT|unix.O_RDONLY|unix.O_CLOEXEC, 0o444)
	if err == nil {
		_ = unix.Close(f)
		step("ns-file")
		err = unix.Mount("/proc/self/fd/"+strconv.Itoa(n.fd), path, "", unix.MS_BIND, "")
	}
	if err != nil {
		n.close()
		return fmt.Errorf("mount network namespace %s: %w", path, err)
	}
	step("ns-mounted")
	return nil
}

// makeNSDir makes a directory for names of namespaces, on a tmpfs of its own unless it is on one: making a file on a
// disk's file system may cost more than the namespace itself. A directory that is in use is left as it is.
func makeNSDir(dir, label string) error {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			err = unix.Statfs(dir, &st)
		}
	}
	if err != nil {
		return fmt.Errorf("make directory of network namespaces %s: %w", dir, err)
	}
	if st.Type == unix.TMPFS_MAGIC {
		return nil
	}
	if names, err := listNS(dir); err != nil || len(names) > 0 {
		return err
	}
	err = unix.Mount(label, dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755,size=1m")
	if err != nil {
		return fmt.Errorf("mount tmpfs for network namespaces on %s: %w", dir, err)
	}
	return nil
}

// removeNSDir removes an empty directory of namespaces, and the tmpfs if it has one. One that is missing is success.
func removeNSDir(dir string) error {
	err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove directory of network namespaces: %w", err)
	}
	return nil
}

// removeNS takes the name of a namespace away; the namespace itself ends with the last process in it.
func removeNS(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unmount network namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", path, err)
	}
	return nil
}

// listNS returns the names in a directory of namespaces; a missing directory is empty.
func listNS(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// setSysctl writes a file below /proc/sys/net, of the calling thread's network namespace. One that this kernel does not
// have (IPv6 off) is left.
func setSysctl(name, value string) error {
	fd, err := unix.Open(filepath.Join("/proc/sys/net", name), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = unix.Write(fd, []byte(value))
		_ = unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("set net/%s to %q: %w", name, value, err)
	}
	return nil
}
