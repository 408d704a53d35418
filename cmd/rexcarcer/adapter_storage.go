package main

import (
	"context"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/hostagent"
)

func (h apiHost) CollectImages(ctx context.Context, r api.GCRequest) (api.GCResult, error) {
	gone, busy, err := h.d.agent.CollectImages(ctx, hostagent.GC{DryRun: r.DryRun, KeepNewest: r.KeepNewest, Bases: r.Bases})
	out := api.GCResult{DryRun: r.DryRun, Busy: busy}
	for _, g := range gone {
		out.Bytes += g.Bytes
		out.Removed = append(out.Removed, api.Garbage{Kind: g.Kind, Key: g.Key, Name: g.Name, Bytes: g.Bytes})
	}
	return out, err
}
