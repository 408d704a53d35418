package main

import (
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/cluster"
)

func TestAClockIsAnAlarmOnceItIsOffForAWhile(t *testing.T) {
	t.Parallel()
	j := clockJudge{limit: 500 * time.Millisecond}
	const ms = time.Millisecond
	for i, c := range []struct {
		behind, within time.Duration
		unknown        bool
		want           string // "": no alarm; "?": not sure
	}{
		{behind: 10 * ms},
		{behind: 600 * ms, want: "?"}, {behind: 600 * ms, want: "?"}, {behind: 10 * ms}, // a hiccup
		{behind: 900 * ms, within: 600 * ms}, // may well be right
		{behind: 800 * ms, want: "?"}, {behind: 800 * ms, want: "?"}, {unknown: true, want: "?"},
		{behind: 800 * ms, want: "?"}, {behind: 800 * ms, want: "?"},
		{behind: 812 * ms, want: "810ms behind that of the leader h1"},
		{behind: 450 * ms, want: "810ms behind"}, // near the limit: it stays
		{behind: 900 * ms, want: "810ms behind"}, // and says the same
		{unknown: true, want: "?"},
		{behind: -90 * time.Second, want: "810ms"}, {behind: -90 * time.Second, want: "810ms"},
		{behind: -90 * time.Second, want: "1m30s ahead of that of the leader h1"},
		{behind: 0, want: "1m30s"}, {behind: 0, want: "1m30s"}, {behind: 0},
	} {
		text, sure := j.look(cluster.Skew{Behind: c.behind, Within: c.within}, !c.unknown, "h1")
		switch {
		case c.want == "?" && (sure && text != ""):
			t.Errorf("look %d: sure that %q", i, text)
		case c.want == "" && (!sure || text != ""):
			t.Errorf("look %d: %q, %v, want no alarm", i, text, sure)
		case len(c.want) > 1 && (!sure || !strings.Contains(text, c.want)):
			t.Errorf("look %d: %q, %v, want %q", i, text, sure, c.want)
		}
	}
}
