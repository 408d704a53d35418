package main

import (
	"context"
	"encoding/hex"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/cluster"
)

// apiPast is the log's history as the API sees it.
type apiPast struct{ *cluster.Node }

// Verify implements api.Past.
func (p apiPast) Verify(ctx context.Context, index uint64) (api.Audit, error) {
	a, err := p.Node.Verify(ctx, index)
	return api.Audit{From: a.From, To: a.To, Entries: a.Entries, States: a.States, Chain: hex.EncodeToString(a.Chain[:])}, err
}
