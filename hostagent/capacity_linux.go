package hostagent

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// capacity is what this host offers: all cores, and its memory less what the
// system and this daemon need.
func capacity() (fsm.Resources, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fsm.Resources{}, fmt.Errorf("read memory size: %w", err)
	}
	total := int64(info.Totalram) * int64(info.Unit)
	return fsm.Resources{MilliCPU: int64(runtime.NumCPU()) * 1000, MemoryBytes: total - total/16}, nil
}
