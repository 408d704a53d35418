package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Clock says how right this host's clock is, by the leader and by chrony.
func (h apiHost) Clock(ctx context.Context) api.ClockRow {
	row := api.ClockRow{Host: h.d.o.Name, Chrony: chrony(ctx, run.Real{})}
	if leads, _ := h.d.node.Leader(); leads {
		row.Leader = h.d.o.Name
	} else if s, known := h.d.node.Skew(); known {
		row.Leader, row.Ahead, row.Within = h.d.hostName(s.Leader), -s.Behind, s.Within
	}
	return row
}

// chronyTime is how long chronyc may take: it waits for a daemon that is not there.
const chronyTime = 3 * time.Second

// chrony asks chronyc(1), nil where there is none. more are arguments for it.
func chrony(ctx context.Context, r run.Runner, more ...string) *api.Chrony {
	argv := append(append([]string{"chronyc", "-c"}, more...), "tracking")
	res, err := r.Run(ctx, run.Cmd{Argv: argv, Timeout: chronyTime})
	switch {
	case run.NotFound(err):
		return nil
	case err != nil:
		text := strings.TrimSpace(string(res.Stdout))
		if text == "" {
			text = err.Error()
		}
		return &api.Chrony{Error: oneLine(text)}
	}
	c, err := parseTracking(string(res.Stdout))
	if err != nil {
		return &api.Chrony{Error: oneLine(err.Error())}
	}
	return c
}

// parseTracking reads the 14 fields of chronyc -c tracking: reference id and
// name, stratum, reference time, system time, last and RMS offset, frequency,
// residual, skew, root delay and dispersion, update interval, leap status.
func parseTracking(text string) (*api.Chrony, error) {
	f, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil || len(f) < 14 {
		return nil, fmt.Errorf("chronyc tracking: %d fields in %.80q, want 14", len(f), text)
	}
	c := &api.Chrony{Source: f[1], Leap: f[13]}
	if c.Stratum, err = strconv.Atoi(f[2]); err != nil {
		return nil, fmt.Errorf("chronyc tracking: stratum: %w", err)
	}
	for _, to := range []struct {
		field int
		d     *time.Duration
	}{{4, &c.Offset}, {10, &c.RootDelay}, {11, &c.Dispersion}} {
		seconds, err := strconv.ParseFloat(f[to.field], 64)
		if err != nil {
			return nil, fmt.Errorf("chronyc tracking: field %d: %w", to.field+1, err)
		}
		*to.d = time.Duration(math.Abs(seconds) * float64(time.Second))
	}
	return c, nil
}
