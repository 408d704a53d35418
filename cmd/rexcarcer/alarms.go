package main

import (
	"context"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// alarms makes those alarms of this host whose names begin with prefix what
// want says. What cannot be said now is said later: it is asked for again.
func (d *daemon) alarms(ctx context.Context, prefix string, want map[string]string) {
	have := map[string]string{}
	if h, ok := d.node.State().Hosts.Get(string(d.node.ID())); ok {
		for _, a := range h.Alarms {
			if strings.HasPrefix(a.Name, prefix) {
				have[a.Name] = a.Text
			}
		}
	}
	var cmds []fsm.ReportAlarm
	for name := range have {
		if want[name] == "" {
			cmds = append(cmds, fsm.ReportAlarm{Host: d.node.ID(), Name: name})
		}
	}
	for name, text := range want {
		if have[name] != text {
			cmds = append(cmds, fsm.ReportAlarm{Host: d.node.ID(), Name: name, Text: text})
		}
	}
	for _, cmd := range cmds {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		if _, err := d.node.Propose(ctx, "host/"+string(d.node.ID()), cmd); err != nil {
			d.log.Warn("an alarm is not known to the cluster", "alarm", cmd.Name, "text", cmd.Text, "err", err)
		}
		cancel()
	}
}
