package api

import (
	"context"
	"net/url"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// maxDrain is the longest deadline of a drain.
const maxDrain = 30 * 24 * time.Hour

// DrainRequest says how fast a host is drained.
type DrainRequest struct {
	Deadline string `json:"deadline,omitempty"` // as 10m from now: jails that are still there then are stopped
	Parallel int    `json:"parallel,omitempty"` // so many are on their way at once; 0: as their groups allow
}

func (s *Server) drainHost(r *request) error {
	var in DrainRequest
	if r.ContentLength != 0 {
		if err := r.decode(&in); err != nil {
			return err
		}
	}
	pace, err := in.pace(time.Now())
	if err != nil {
		return err
	}
	return s.markHost(r, fsm.HostDraining, fsm.HostAlive, pace)
}

// pace is nil where nothing is asked.
func (in DrainRequest) pace(now time.Time) (*fsm.Drain, error) {
	if in == (DrainRequest{}) {
		return nil, nil
	}
	if in.Parallel < 0 {
		return nil, fail("invalid", "host", "--parallel 2", "parallel %d: want 0 or more", in.Parallel)
	}
	out := &fsm.Drain{Parallel: in.Parallel}
	if in.Deadline != "" {
		d, err := time.ParseDuration(in.Deadline)
		if err != nil || d <= 0 || d > maxDrain {
			return nil, fail("invalid", "host", "--deadline 10m", "deadline %q: want more than 0, at most %v", in.Deadline, maxDrain)
		}
		out.Until = fsm.TimeOf(now.Add(d))
	}
	return out, nil
}

// DrainHostAt moves the jails of a host away as fast as in says.
func (c *Client) DrainHostAt(ctx context.Context, name string, in DrainRequest) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "POST", "/v1/hosts/"+url.PathEscape(name)+"/drain", nil, 0, in, &out)
	return out, err
}
