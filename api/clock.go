package api

import (
	"context"
	"time"
)

// Clocking says how right the clock of a host is.
type Clocking interface {
	Clock(ctx context.Context) ClockRow
}

// ClockRow is how right the clock of a host is.
type ClockRow struct {
	Host string `json:"host"` // its name
	// Leader is the host that the clock was compared with: "" while there was
	// none, the host itself while it leads.
	Leader string        `json:"leader"`
	Ahead  time.Duration `json:"ahead_ns"`  // of the leader's, in nanoseconds; below 0: behind
	Within time.Duration `json:"within_ns"` // how wrong that may be
	Chrony *Chrony       `json:"chrony,omitempty"`
}

// Chrony is what chronyc tracking says on a host that has it, see chronyc(1).
type Chrony struct {
	Source     string        `json:"source"`    // name or address that the clock follows; "": none
	Stratum    int           `json:"stratum"`   // 0: not synchronised
	Offset     time.Duration `json:"offset_ns"` // of the system clock from that of the source, without a sign
	RootDelay  time.Duration `json:"root_delay_ns"`
	Dispersion time.Duration `json:"root_dispersion_ns"`
	Leap       string        `json:"leap"`            // Normal, Not synchronised, ...
	Error      string        `json:"error,omitempty"` // why nothing else is known
}

func (s *Server) showClock(r *request) error {
	return r.reply(s.cfg.Log.State().Index, s.cfg.Host.Clock(r.Context()))
}

// Clock says how right the clock of a host is; "" is the one that is asked.
func (c *Client) Clock(ctx context.Context, host string) (ClockRow, error) {
	return only(get[ClockRow](ctx, c, "/v1/clock", "host", host))
}
