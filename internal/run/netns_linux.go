package run

import (
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startIn starts x with its network namespace set to the one at path. A child inherits the namespace of the THREAD that
// forks it (setns(2)), so the thread is pinned, moved, and moved back. `ip netns exec` is not used: it remounts /sys.
func startIn(path string, x *exec.Cmd) error {
	if path == "" {
		return x.Start()
	}
	target, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer unix.Close(target)
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer unix.Close(home)
	if err := unix.Setns(target, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	startErr := x.Start()
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		// The thread stays locked: it dies with this goroutine instead of running others in a foreign namespace.
		panic(fmt.Sprintf("return from network namespace %s: %v", path, err))
	}
	runtime.UnlockOSThread()
	return startErr
}
