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
	total, err := unix.SysctlUint64("hw.physmem")
	if err != nil {
		return fsm.Resources{}, fmt.Errorf("read memory size: %w", err)
	}
	return fsm.Resources{MilliCPU: int64(runtime.NumCPU()) * 1000, MemoryBytes: int64(total) - int64(total)/16}, nil
}
