package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/dnsd"
	"github.com/rexcarcer/rexcarcer/internal/run"
)

// unboundGather lets changes that come together go to unbound together, and
// unboundLook is how often we look whether it is still the one that knows what we
// said, or was started anew.
const (
	unboundGather = 100 * time.Millisecond
	unboundLook   = 5 * time.Second
)

// feedUnbound keeps the unbound that is configured by conf in step with names
// until ctx ends. Nothing is taken out of it at the end: it goes on with the last
// records, as a router does.
func (d *daemon) feedUnbound(ctx context.Context, conf string) error {
	var last *dnsd.Zone
	var life unboundLife
	broken := false
	for {
		changed := d.names.Changes()
		if zone := d.names.Zone(); zone != nil {
			now, err := lookAtUnbound(ctx, conf)
			if err == nil && now.after(life) {
				last = nil
			}
			if err == nil && zone != last {
				err = tellUnbound(ctx, conf, zone, last)
			}
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the end was wanted, whatever it interrupted
			}
			if err != nil && !broken {
				d.log.Warn("unbound does not take our records; trying again", "conf", conf, "err", err)
			}
			broken, last, life = err != nil, zone, now
			if broken {
				last = nil // it may have lost everything
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(unboundLook):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(unboundGather):
		}
	}
}

// unboundLife tells one start or reload of an unbound from another.
type unboundLife struct {
	pid   string
	since time.Time
}

// after tells whether u began later than before: it knows nothing of what was
// said to that.
func (u unboundLife) after(before unboundLife) bool {
	return u.pid != before.pid || u.since.After(before.since.Add(3*time.Second)) // it counts whole seconds
}

var unboundStatus = regexp.MustCompile(`(?s)uptime: (\d+) seconds.*\(pid (\d+)\) is running`)

func lookAtUnbound(ctx context.Context, conf string) (unboundLife, error) {
	out, err := (run.Real{}).Run(ctx, run.Cmd{Argv: []string{"unbound-control", "-c", conf, "status"}})
	if err != nil {
		return unboundLife{}, fmt.Errorf("look at unbound: %w", err)
	}
	m := unboundStatus.FindSubmatch(out.Stdout)
	if m == nil {
		return unboundLife{}, fmt.Errorf("look at unbound: its status is %.200q", out.Stdout)
	}
	seconds, err := strconv.Atoi(string(m[1]))
	return unboundLife{string(m[2]), time.Now().Add(-time.Duration(seconds) * time.Second)}, err
}

// tellUnbound brings unbound from last (nil: whatever it has) to zone.
func tellUnbound(ctx context.Context, conf string, zone, last *dnsd.Zone) error {
	e, whole := zone.Export(last)
	control := func(lines []string, command ...string) error {
		c := run.Cmd{Argv: append([]string{"unbound-control", "-c", conf}, command...)}
		if lines != nil {
			c.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		}
		if _, err := (run.Real{}).Run(ctx, c); err != nil {
			return fmt.Errorf("give unbound the records of serial %d: %w", zone.Serial(), err)
		}
		return nil
	}
	if whole {
		for _, name := range e.Zones { // with all that it had below it
			if err := control(nil, "local_zone_remove", name); err != nil {
				return err
			}
			if err := control(nil, "local_zone", name, "static"); err != nil {
				return err
			}
		}
	}
	if len(e.Removed) > 0 {
		if err := control(e.Removed, "local_datas_remove"); err != nil {
			return err
		}
	}
	if len(e.Records) > 0 {
		return control(e.Records, "local_datas")
	}
	return nil
}
