package run

import (
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startIn starts x in the namespaces that c names. A child inherits those of the THREAD that forks it (setns(2),
// unshare(2)), so a thread is pinned, moved, and thrown away: a goroutine that ends while it is locked takes its thread
// along. `ip netns exec` is not used: it remounts /sys.
func startIn(c Cmd, x *exec.Cmd) error {
	if c.NetNS == "" && len(c.Hide) == 0 {
		return x.Start()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := enter(c); err != nil {
			done <- err
			return
		}
		done <- x.Start()
	}()
	return <-done
}

// enter moves the calling thread.
func enter(c Cmd) error {
	if c.NetNS != "" {
		fd, err := unix.Open(c.NetNS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open network namespace %s: %w", c.NetNS, err)
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", c.NetNS, err)
		}
	}
	if len(c.Hide) == 0 {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil { // our umount stays here, the host's mounts still come
		return fmt.Errorf("detach mount namespace: %w", err)
	}
	for _, h := range c.Hide {
		if err := unix.Unmount(h, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("hide %s: %w", h, err)
		}
	}
	return nil
}
