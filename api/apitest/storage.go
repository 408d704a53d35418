package apitest

import (
	"context"
	"slices"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// CollectImages implements api.Host: what was built and has no name goes,
// with one layer of 1 MiB each.
func (h *Host) CollectImages(_ context.Context, r api.GCRequest) (api.GCResult, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	named := map[string]bool{}
	for _, i := range h.log.State().Images.All {
		named[i.Key] = true
	}
	out := api.GCResult{DryRun: r.DryRun}
	var stay []string
	for i, key := range h.built {
		if slices.Contains(h.built[:i], key) {
			continue // built twice
		}
		if named[key] || i >= len(h.built)-r.KeepNewest {
			stay = append(stay, key)
			continue
		}
		out.Removed = append(out.Removed, api.Garbage{Kind: "image", Key: key, Name: "forgotten"}, api.Garbage{Kind: "layer", Key: key, Bytes: 1 << 20})
		out.Bytes += 1 << 20
		if r.DryRun {
			continue
		}
		if _, err := h.log.fold("host/"+string(HostID), fsm.ReportBuild{Key: key, Host: HostID, Gone: true}); err != nil {
			return out, err
		}
	}
	if !r.DryRun {
		h.built = stay
	}
	return out, nil
}
