package api

import (
	"context"
	"time"
)

// TransferRow is one stream between two hosts that runs now.
type TransferRow struct {
	Direction string    `json:"direction"` // of the host that is asked: in or out
	Object    string    `json:"object"`    // "layer KEY", "volume ID" or "jail UUID"
	Snapshot  string    `json:"snapshot"`
	Peer      string    `json:"peer"` // name of the other host; "" before one was found
	Bytes     int64     `json:"bytes"`
	Total     int64     `json:"total"` // about; 0 when unknown
	Rate      int64     `json:"rate"`  // bytes per second since it began
	LeftMs    int64     `json:"left_ms"`
	Since     time.Time `json:"since"`
}

func (s *Server) listTransfers(r *request) error {
	rows := s.cfg.Host.Transfers()
	if rows == nil {
		rows = []TransferRow{}
	}
	return r.reply(s.cfg.Log.State().Index, rows)
}

// Transfers lists the streams of images and volumes that run on a host now; ""
// is the one that is asked.
func (c *Client) Transfers(ctx context.Context, host string) ([]TransferRow, error) {
	return only(get[[]TransferRow](ctx, c, "/v1/transfers", "host", host))
}
