package apitest

import (
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// Transfers implements api.Host: one is half done, for ever.
func (*Host) Transfers() []api.TransferRow {
	return []api.TransferRow{{
		Direction: "in", Object: "volume demo.web-1.data", Snapshot: "sync-1", Peer: "other", Bytes: 512 << 20, Total: 1 << 30, Rate: 128 << 20, LeftMs: 4000,
		Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}}
}
