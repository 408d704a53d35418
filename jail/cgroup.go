package jail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
)

// cgroups knows where this host keeps its control groups, and ours in them: <mount>/rexcarcer/<instance>/<id>. The path
// is absolute from each hierarchy's root, never beneath our own group, so that a limit on the daemon is none on its jails.
type cgroups struct {
	layout string            // "v1", "hybrid", "v2"
	at     map[string]string // controller -> mount point; v2 has them all at one
	mounts []string          // every hierarchy
	parent string            // "/rexcarcer/<instance>"
}

var controllers = []string{"memory", "cpu", "cpuacct", "cpuset", "pids", "freezer", "devices"}

func detectCgroups(instance string) (*cgroups, error) {
	infos, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("look for cgroup mounts: %w", err)
	}
	c := &cgroups{at: map[string]string{}, parent: "/rexcarcer/" + instance}
	unified := ""
	for _, m := range infos {
		if !slices.Contains(c.mounts, m.Mountpoint) && strings.HasPrefix(m.Mountpoint, "/sys/fs/cgroup") {
			c.mounts = append(c.mounts, m.Mountpoint)
		} else {
			continue
		}
		if m.FSType == "cgroup2" {
			unified = m.Mountpoint
			continue
		}
		for o := range strings.SplitSeq(m.VFSOptions, ",") {
			if slices.Contains(controllers, o) {
				c.at[o] = m.Mountpoint
			}
		}
	}
	switch {
	case len(c.at) > 0 && unified != "":
		c.layout = "hybrid"
	case len(c.at) > 0:
		c.layout = "v1"
	case unified != "":
		c.layout = "v2"
		for _, k := range controllers {
			c.at[k] = unified
		}
	default:
		return nil, errors.New("no cgroup file system below /sys/fs/cgroup; mount one: mount -t cgroup2 none /sys/fs/cgroup")
	}
	return c, nil
}

// unifiedMount is the cgroup2 mount of a hybrid layout, which crun does not want to see.
func (c *cgroups) unifiedMount() string {
	if c.layout != "hybrid" {
		return ""
	}
	i := slices.IndexFunc(c.mounts, isCgroup2)
	if i < 0 {
		return ""
	}
	return c.mounts[i]
}

func (c *cgroups) path(id string) string { return c.parent + "/" + id }

func (c *cgroups) file(controller, id, name string) string {
	return filepath.Join(c.at[controller], c.path(id), name)
}

// canLimitSwap: v1 has the file only with swap accounting; v2 has it unless the kernel was built without swap.
func (c *cgroups) canLimitSwap() bool {
	if c.layout == "v2" {
		_, err := os.Stat("/proc/swaps")
		return err == nil
	}
	_, err := os.Stat(filepath.Join(c.at["memory"], "memory.memsw.limit_in_bytes"))
	return err == nil
}

// kill ends every process of the jail and returns when none is left.
func (c *cgroups) kill(ctx context.Context, id string) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		pids := c.pids(id)
		if len(pids) == 0 {
			return nil
		}
		if c.layout == "v2" {
			_ = os.WriteFile(c.file("pids", id, "cgroup.kill"), []byte("1"), 0) // Linux 5.14; else one by one
		}
		for _, p := range pids {
			if err := syscall.Kill(p, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d of %s: %w", p, id, err)
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("kill the processes of %s, %d left: %w", id, len(pids), err)
		}
	}
}

func (c *cgroups) pids(id string) []int {
	var out []int
	for _, m := range c.mounts {
		raw, err := os.ReadFile(filepath.Join(m, c.path(id), "cgroup.procs"))
		if err != nil {
			continue // not in this hierarchy, or gone
		}
		for f := range strings.FieldsSeq(string(raw)) {
			if p, err := strconv.Atoi(f); err == nil && p > 0 && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// remove deletes the jail's groups; the kernel says EBUSY until the last task has left for good.
func (c *cgroups) remove(ctx context.Context, id string) error {
	for _, m := range c.mounts {
		dir := filepath.Join(m, c.path(id))
		for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
			err := syscall.Rmdir(dir)
			if err == nil || errors.Is(err, syscall.ENOENT) {
				break
			}
			if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTEMPTY) {
				removeBelow(dir)
				if serr := sleep(ctx, pause); serr == nil {
					continue
				}
			}
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// removeBelow deletes groups that somebody made inside the jail's, deepest first. What fails is tried again by remove.
func removeBelow(dir string) {
	var dirs []string
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && p != dir {
			dirs = append(dirs, p)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		_ = syscall.Rmdir(d)
	}
}

// removeParents deletes the instance's group and the common one where they are empty; else they stay.
func (c *cgroups) removeParents() {
	for _, m := range c.mounts {
		if syscall.Rmdir(filepath.Join(m, c.parent)) == nil || !exists(filepath.Join(m, c.parent)) {
			_ = syscall.Rmdir(filepath.Join(m, "/rexcarcer"))
		}
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// sleep waits for d, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
