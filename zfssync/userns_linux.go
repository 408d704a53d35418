package zfssync

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// userNamespaces keeps one user namespace per id range. The kernel takes the map of an id-mapped mount from a user
// namespace (mount_setattr(2)), and a user namespace is made by a process; so the first clone of a range costs about a
// millisecond, and the next ones nothing.
type userNamespaces struct {
	mu  sync.Mutex // guards fds
	fds map[IDMap]int
}

const maxUserNamespaces = 2048 // descriptors; beyond it an arbitrary one is made anew

// get returns the descriptor for m, -1 for the zero map. It stays open until close, unless it is thrown out by get for
// others: callers hold use() while they use it.
func (u *userNamespaces) use(m IDMap, fn func(fd int) error) error {
	if m.IsZero() {
		return fn(-1)
	}
	u.mu.Lock()
	fd, ok := u.fds[m]
	if ok {
		// A duplicate lives as long as this call, whatever happens to the original.
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		u.mu.Unlock()
		if err != nil {
			return fmt.Errorf("duplicate user namespace: %w", err)
		}
		defer unix.Close(dup)
		return fn(dup)
	}
	u.mu.Unlock()
	fd, err := newUserNamespace(m)
	if err != nil {
		return err
	}
	err = fn(fd)
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, taken := u.fds[m]; taken || u.fds == nil {
		_ = unix.Close(fd)
		return err
	}
	if len(u.fds) >= maxUserNamespaces {
		for k, old := range u.fds {
			_ = unix.Close(old)
			delete(u.fds, k)
			break
		}
	}
	u.fds[m] = fd
	return err
}

func (u *userNamespaces) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, fd := range u.fds {
		_ = unix.Close(fd)
	}
	u.fds = nil
}

// newUserNamespace returns a user namespace with two extents: ids 0..Size-1 on disk are HostBase.. on the host, and one
// id beyond them stands for the host's root. Without the second one overlayfs could not make its work directory, nor
// this daemon a file in a jail's root: "value too large", since uid 0 would have no id on disk (what is made that way
// belongs to nobody inside the jail, until it is chowned).
//
// This is not a program that is started, so it is not a matter of internal/run: the child is stopped by ptrace before
// its first instruction, and is killed as soon as its namespace is held open.
func newUserNamespace(m IDMap) (int, error) {
	ids := []syscall.SysProcIDMap{
		{ContainerID: 0, HostID: int(m.HostBase), Size: int(m.Size)},
		{ContainerID: int(m.Size), HostID: 0, Size: 1},
	}
	// ptrace and the parent-death signal belong to the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := os.StartProcess("/proc/self/exe", []string{"userns"}, &os.ProcAttr{
		Env: []string{},
		Sys: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
			Ptrace: true, Pdeathsig: syscall.SIGKILL,
		},
	})
	if err != nil {
		return -1, fmt.Errorf("make user namespace for ids %d+%d: %w", m.HostBase, m.Size, err)
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	killErr := p.Kill()
	if _, werr := p.Wait(); killErr == nil {
		killErr = werr
	}
	if err == nil && killErr != nil {
		_ = unix.Close(fd)
		err = killErr
	}
	if err != nil {
		return -1, fmt.Errorf("hold user namespace for ids %d+%d: %w", m.HostBase, m.Size, err)
	}
	return fd, nil
}
