package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// stats reads what the jail's group uses.
func (c *cgroups) stats(id string) (Stats, error) {
	var s Stats
	var err error
	if c.layout == "v2" {
		if s.MemoryBytes, err = c.number("memory", id, "memory.current"); err != nil {
			return s, err
		}
		s.MemoryPeak, _ = c.number("memory", id, "memory.peak") // Linux 5.19
		usec, err := c.keyed("cpu", id, "cpu.stat", "usage_usec")
		if err != nil {
			return s, err
		}
		s.CPUTime = time.Duration(usec) * time.Microsecond
	} else {
		if s.MemoryBytes, err = c.number("memory", id, "memory.usage_in_bytes"); err != nil {
			return s, err
		}
		s.MemoryPeak, _ = c.number("memory", id, "memory.max_usage_in_bytes")
		ns, err := c.number("cpuacct", id, "cpuacct.usage")
		if err != nil {
			return s, err
		}
		s.CPUTime = time.Duration(ns)
	}
	if s.PIDs, err = c.number("pids", id, "pids.current"); err != nil {
		return s, err
	}
	s.OOMKills = c.oomKills(id)
	return s, nil
}

// oomKills counts the processes that the kernel killed in the jail's group for want of memory; 0 where it cannot tell.
func (c *cgroups) oomKills(id string) int64 {
	name := "memory.oom_control"
	if c.layout == "v2" {
		name = "memory.events"
	}
	n, err := c.keyed("memory", id, name, "oom_kill")
	if err != nil {
		return 0
	}
	return n
}

func (c *cgroups) number(controller, id, name string) (int64, error) {
	raw, err := os.ReadFile(c.file(controller, id, name))
	if err != nil {
		return 0, notFound(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", name, id, err)
	}
	return n, nil
}

func (c *cgroups) keyed(controller, id, name, key string) (int64, error) {
	raw, err := os.ReadFile(c.file(controller, id, name))
	if err != nil {
		return 0, notFound(err)
	}
	for l := range strings.Lines(string(raw)) {
		if f := strings.Fields(l); len(f) == 2 && f[0] == key {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("read %s of %s: no line %q", name, id, key)
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (%w)", ErrNotFound, err)
	}
	return err
}

// update writes limits to a live group; zero lifts a limit.
func (c *cgroups) update(id string, l Limits, swap bool) error {
	if c.layout == "v2" {
		return c.updateV2(id, l, swap)
	}
	quota := int64(-1)
	if l.CPU > 0 {
		quota = cpuQuota(l.CPU)
	}
	if err := c.write("cpu", id, "cpu.cfs_period_us", strconv.Itoa(cpuPeriod)); err != nil {
		return err
	}
	if err := c.write("cpu", id, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)); err != nil {
		return err
	}
	if err := c.updateMemoryV1(id, l.MemoryBytes, swap); err != nil {
		return err
	}
	if err := c.write("pids", id, "pids.max", orMax(l.Processes)); err != nil {
		return err
	}
	return c.updateCPUSet(id, l.CPUSet)
}

// updateMemoryV1 keeps memory <= memory+swap at every moment, as the kernel demands: the larger one moves first when
// the limit grows, last when it shrinks. Whether it grows is found by trying.
func (c *cgroups) updateMemoryV1(id string, limit int64, swap bool) error {
	value := "-1"
	if limit > 0 {
		value = strconv.FormatInt(limit, 10)
	}
	const mem, memsw = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if !swap {
		return c.write("memory", id, mem, value)
	}
	if c.write("memory", id, memsw, value) == nil {
		return c.write("memory", id, mem, value)
	}
	if err := c.write("memory", id, mem, value); err != nil {
		return err
	}
	return c.write("memory", id, memsw, value)
}

func (c *cgroups) updateV2(id string, l Limits, swap bool) error {
	cpu := "max " + strconv.Itoa(cpuPeriod)
	if l.CPU > 0 {
		cpu = fmt.Sprintf("%d %d", cpuQuota(l.CPU), cpuPeriod)
	}
	if err := c.write("cpu", id, "cpu.max", cpu); err != nil {
		return err
	}
	if err := c.write("memory", id, "memory.max", orMax(l.MemoryBytes)); err != nil {
		return err
	}
	if swap {
		none := "max"
		if l.MemoryBytes > 0 {
			none = "0"
		}
		if err := c.write("memory", id, "memory.swap.max", none); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	if err := c.write("pids", id, "pids.max", orMax(l.Processes)); err != nil {
		return err
	}
	return c.updateCPUSet(id, l.CPUSet)
}

func (c *cgroups) updateCPUSet(id, set string) error {
	if set == "" {
		if c.layout == "v2" {
			return ignoreMissing(c.write("cpuset", id, "cpuset.cpus", "\n"))
		}
		raw, err := os.ReadFile(c.at["cpuset"] + "/cpuset.cpus") // v1 has no "none": all that there are
		if err != nil {
			return ignoreMissing(notFound(err))
		}
		set = strings.TrimSpace(string(raw))
	}
	return c.write("cpuset", id, "cpuset.cpus", set)
}

func ignoreMissing(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func orMax(n int64) string {
	if n <= 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

func (c *cgroups) write(controller, id, name, value string) error {
	f, err := os.OpenFile(c.file(controller, id, name), os.O_WRONLY, 0)
	if err != nil {
		return notFound(err)
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("set %s to %q: %w", f.Name(), value, err)
	}
	return nil
}
