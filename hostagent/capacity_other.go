//go:build !linux && !freebsd

package hostagent

import (
	"runtime"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// capacity is what this host offers; memory is not limited where it cannot be read.
func capacity() (fsm.Resources, error) {
	return fsm.Resources{MilliCPU: int64(runtime.NumCPU()) * 1000}, nil
}
