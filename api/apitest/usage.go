package apitest

import (
	"context"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// Usage implements api.Host: each running jail uses the same, and half a
// processor from one look to the next.
func (h *Host) Usage(context.Context) ([]api.UsageRow, error) {
	h.mu.Lock()
	h.looks++
	looks := h.looks
	h.mu.Unlock()
	out := []api.UsageRow{}
	for name, run := range h.log.State().Runs.All {
		if run.Phase == fsm.Running {
			out = append(out, api.UsageRow{Jail: name, CPUSeconds: float64(looks) / 2, MemoryBytes: 12 << 20, Processes: 3, At: Start.Add(time.Duration(looks) * time.Second)})
		}
	}
	return out, nil
}
