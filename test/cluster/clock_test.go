package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
)

func TestAHostWhoseClockIsOffIsAnAlarmUntilItIsRight(t *testing.T) {
	t.Parallel()
	a := form(t, "clk-a")[0]
	b := prepare(t, "clk-b")
	token := strings.TrimSpace(a.must(t, "token", "create", "--role", "host", "-q"))
	if r := b.join(a, token); r.code != 0 {
		t.Fatal(r)
	}
	b.flags = append(b.flags, "-clock-shift", "3s")
	b.start(t)
	alarms := func() ([]api.AlarmRow, error) {
		r := a.ctl("status", "-o", "json")
		var s api.Status
		if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
			return nil, fmt.Errorf("%s: %w", r, err)
		}
		return s.Alarms, nil
	}
	poll(t, patience, "an alarm", func() error {
		got, err := alarms()
		if err != nil || len(got) != 1 || got[0].Host != "clk-b" || got[0].Name != "clock" || !strings.Contains(got[0].Text, " ahead of that of the leader clk-a") {
			return fmt.Errorf("got %+v, %w", got, err)
		}
		return nil
	})
	if out := a.must(t, "host", "show", "clk-b"); !strings.Contains(out, "clock: this host's clock is ") || !strings.Contains(out, "ahead of the leader clk-a") {
		t.Errorf("host show says nothing of it:\n%s", out)
	}
	if out := a.must(t, "events"); !strings.Contains(out, "alarm_raised") {
		t.Errorf("no event:\n%s", out)
	}
	b.kill()
	b.flags = b.flags[:len(b.flags)-2]
	b.start(t)
	poll(t, patience, "it is over", func() error {
		got, err := alarms()
		if err != nil || len(got) != 0 {
			return fmt.Errorf("got %+v, %w", got, err)
		}
		return nil
	})
	if out := a.must(t, "events"); !strings.Contains(out, "alarm_ended") {
		t.Errorf("no event of its end:\n%s", out)
	}
}
