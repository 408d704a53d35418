package zfssync

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
)

// zfs-fuse hears of an unmount after the fact, and takes the file system down by a thread of its own. A command on that
// very dataset meanwhile can make that thread spin for ever, and with it the whole daemon stands still. So whoever
// unmounts waits until the daemon has closed the connection. Files that were closed a moment ago are the other danger:
// the kernel tells the daemon of that in its own time, an unmount takes back what was not told yet, and the daemon then
// looks for ever for who has them open; so there is a rest before the unmount.

const (
	fuseWait = 3 * time.Second        // for one connection; somebody else's mount namespace may keep it open longer
	fuseTick = 2 * time.Millisecond   // between looks
	fuseCalm = 50 * time.Millisecond  // before an unmount, see above
	fuseRest = 250 * time.Millisecond // where the kernel does not tell whose a descriptor is (before Linux 6.11)
)

func fuseRestFor(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

// unmount takes down every mount at and below path, and waits until ZFS has heard of it.
func (m mounter) unmount(path string) error {
	before, err := fuseMinors(path)
	if err != nil {
		return err
	}
	if len(before) == 0 {
		return unmountTree(path)
	}
	fuseRestFor(fuseCalm)
	if err := unmountTree(path); err != nil {
		return err
	}
	still, err := fuseMinors("/") // a bind mount elsewhere keeps it
	if err != nil {
		return err
	}
	for minor := range before {
		if !still[minor] {
			awaitFuse(minor)
		}
	}
	return nil
}

// fuseMinors are the devices of zfs-fuse's mounts at and below path.
func fuseMinors(path string) (map[int]bool, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path))
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	out := map[int]bool{}
	for _, m := range mounts {
		if m.FSType == "fuse.zfs" {
			out[m.Minor] = true
		}
	}
	return out, nil
}

// awaitFuse returns when no zfs-fuse holds the connection, which the kernel names by the device's minor number. What
// takes too long is left alone: the next command then says "busy".
func awaitFuse(minor int) {
	tick := time.NewTicker(fuseTick)
	defer tick.Stop()
	for end := time.Now().Add(fuseWait); time.Now().Before(end); <-tick.C {
		open, known := fuseOpen(minor)
		if !known {
			fuseRestFor(fuseRest)
			return
		}
		if !open {
			return
		}
	}
}

// fuseOpen looks through the descriptors of every zfs-fuse. known is false where they do not tell.
func fuseOpen(minor int) (open, known bool) {
	want := fmt.Appendf(nil, "fuse_connection:\t%d\n", minor)
	procs, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return false, false
	}
	known = true
	for _, comm := range procs {
		if name, err := os.ReadFile(comm); err != nil || strings.TrimSpace(string(name)) != "zfs-fuse" {
			continue
		}
		fds, err := os.ReadDir(filepath.Dir(comm) + "/fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			to, err := os.Readlink(filepath.Dir(comm) + "/fd/" + fd.Name())
			if err != nil || to != "/dev/fuse" {
				continue
			}
			info, err := os.ReadFile(filepath.Dir(comm) + "/fdinfo/" + fd.Name())
			if err != nil {
				continue
			}
			if !bytes.Contains(info, []byte("fuse_connection:")) {
				known = false
			}
			if bytes.Contains(info, want) {
				return true, true
			}
		}
	}
	return false, known
}
