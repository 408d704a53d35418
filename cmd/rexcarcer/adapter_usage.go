package main

import (
	"context"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

func (h apiHost) Usage(ctx context.Context) ([]api.UsageRow, error) {
	found, err := h.d.agent.Usage(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.UsageRow{}
	for name, st := range found {
		out = append(out, api.UsageRow{
			Jail: string(name), CPUSeconds: st.CPUTime.Seconds(), MemoryBytes: st.MemoryBytes, MemoryPeak: st.MemoryPeak, Processes: st.PIDs, At: time.Now(),
		})
	}
	return out, nil
}
