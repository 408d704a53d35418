package api

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// UsageRow is what one running jail uses.
type UsageRow struct {
	Jail        string    `json:"jail"`
	Host        string    `json:"host"`
	CPUSeconds  float64   `json:"cpu_seconds"`            // used since it started
	MemoryBytes int64     `json:"memory_bytes"`           // now, page cache included
	MemoryPeak  int64     `json:"memory_peak,omitempty"`  // where the kernel tells
	MemoryLimit int64     `json:"memory_limit,omitempty"` // 0: none
	Processes   int64     `json:"processes"`
	At          time.Time `json:"at"` // by the host's clock
}

// Usage is what a host knows of what its jails use.
type Usage interface {
	// Usage looks at the running jails of this host, in any order. Host and
	// MemoryLimit are left out.
	Usage(ctx context.Context) ([]UsageRow, error)
}

func (s *Server) usage(r *request) error {
	rows, err := s.cfg.Host.Usage(r.Context())
	if err != nil {
		return failedAs(err)
	}
	st := s.cfg.Log.State()
	for i := range rows {
		rows[i].Host = s.hostName(st)
		if j, ok := st.Jails.Get(rows[i].Jail); ok {
			rows[i].MemoryLimit = j.Spec.Limits.MemoryBytes
		}
	}
	slices.SortFunc(rows, func(a, b UsageRow) int { return cmp.Compare(a.Jail, b.Jail) })
	return r.reply(st.Index, rows)
}

// Usage is what the running jails of the host that is asked use.
func (c *Client) Usage(ctx context.Context) ([]UsageRow, error) {
	return only(get[[]UsageRow](ctx, c, "/v1/usage"))
}
