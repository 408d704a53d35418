package apitest

import (
	"context"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// Clock implements api.Host: the time is right.
func (h *Host) Clock(context.Context) api.ClockRow {
	return api.ClockRow{
		Host: "host1", Leader: "host1",
		Chrony: &api.Chrony{Source: "192.0.2.123", Stratum: 3, Offset: 12 * time.Microsecond, RootDelay: time.Millisecond, Dispersion: time.Millisecond, Leap: "Normal"},
	}
}
