package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/cluster"
)

const (
	clockEvery = 2 * time.Second
	clockLooks = 3 // in a row say so before an alarm begins or ends
	clockAlarm = "clock"
)

// clock is the cluster's clock on this host.
func (d *daemon) clock() func() time.Time {
	shift := d.o.Site.ClockShift
	if shift == 0 {
		return time.Now
	}
	return func() time.Time { return time.Now().Add(shift) }
}

// watchClock makes it an alarm of this host when its clock is off.
func (d *daemon) watchClock(ctx context.Context) error {
	if d.peers == nil || d.o.Site.ClockAlarm == 0 {
		d.alarms(ctx, clockAlarm, nil) // of an earlier life
		return nil
	}
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	j := clockJudge{limit: d.o.Site.ClockAlarm}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		s, known := d.node.Skew()
		if leads, _ := d.node.Leader(); leads {
			s, known = cluster.Skew{}, true // whoever leads has the time
		}
		if text, sure := j.look(s, known, d.hostName(s.Leader)); sure {
			want := map[string]string{}
			if text != "" {
				want[clockAlarm] = text
			}
			d.alarms(ctx, clockAlarm, want)
		}
	}
}

// clockJudge decides when an alarm begins, and when it is over: a single
// measure says nothing, and one near the limit must not ring again and again.
type clockJudge struct {
	limit   time.Duration
	text    string        // of the alarm that there is
	said    time.Duration // the skew that it names
	against int           // looks in a row that speak against text
}

// look takes one measure. sure is false while it is not known how the clock is.
func (j *clockJudge) look(s cluster.Skew, known bool, leader string) (text string, sure bool) {
	if !known {
		j.against = 0
		return "", false
	}
	off := max(s.Behind.Abs()-s.Within, 0) // at least
	wrong := off > j.limit || j.text != "" && off > j.limit/2
	if wrong == (j.text != "") && !(wrong && (off > 2*j.said || 2*off < j.said)) {
		j.against = 0
		return j.text, j.against == 0
	}
	if j.against++; j.against < clockLooks {
		return j.text, j.text != ""
	}
	j.against, j.text, j.said = 0, "", off
	if wrong {
		way := "behind"
		if s.Behind < 0 {
			way = "ahead of"
		}
		j.text = fmt.Sprintf("this host's clock is %s %s that of the leader %s: see chronyc tracking on both", s.Behind.Abs().Round(roundTo(s.Behind.Abs())), way, leader)
	}
	return j.text, true
}

// roundTo is to which unit a skew is said.
func roundTo(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return time.Second
	case d > 100*time.Millisecond:
		return 10 * time.Millisecond
	}
	return time.Millisecond
}
