package fsm

import (
	"strings"
	"testing"
	"time"
)

func TestAFetchIsToldAndChangesNothing(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	before := l.s
	for _, c := range []struct {
		report    ReportFetch
		kind, why string
	}{
		{ReportFetch{State: FetchBegun}, "fetch_begun", "by host h1"},
		{ReportFetch{State: FetchDone, From: []string{"two", "three"}, Bytes: 42, Took: 1500 * time.Millisecond}, "fetch_done", "by host h1: 42 bytes in 1.5s from two, three"},
		{ReportFetch{State: FetchFailed, Error: "no host has it"}, "fetch_failed", "by host h1: 0 bytes in 0s: no host has it"},
	} {
		c.report.Key, c.report.Host = testKey(1), "h1"
		events := l.must(c.report)
		if len(events) != 1 || events[0].Event.Kind() != c.kind || events[0].Event.Why() != c.why || events[0].Event.Object() != "build "+testKey(1) {
			t.Errorf("got %+v, want %s: %s", events, c.kind, c.why)
		}
	}
	if l.s.Builds != before.Builds || l.s.Hosts != before.Hosts {
		t.Error("the state has changed")
	}
	for _, bad := range []ReportFetch{
		{Key: "x", Host: "h1", State: FetchBegun},
		{Key: testKey(1), Host: "h1", State: "half"},
		{Key: testKey(1), Host: "h1", State: FetchDone, Bytes: -1},
		{Key: testKey(1), Host: "h1", State: FetchFailed, Error: "two\nlines"},
		{Key: testKey(1), Host: "h1", State: FetchDone, From: []string{strings.Repeat("x", 65)}},
	} {
		l.refused(bad, CodeInvalid)
	}
	l.refused(ReportFetch{Key: testKey(1), Host: "h9", State: FetchBegun}, CodeNotFound)
}
