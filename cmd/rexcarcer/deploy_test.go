package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestADirectorySaysWhatIsToDoAndInWhichOrder(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	later := now.Add(time.Minute)
	jail, net := func(sum string) found { return found{sum, true} }, func(sum string) found { return found{sum, false} }
	for _, c := range []struct {
		name  string
		files map[string]found
		done  map[string]deployed
		gone  string // a wish that is not in the State
		want  string
	}{
		{"nothing", nil, nil, "", ""},
		{"networks come before jails", map[string]found{"a.ini": jail("1"), "b.ini": net("2"), "c.hcl": net("3")}, nil, "", "+b.ini +c.hcl +a.ini"},
		{"what is applied stays so", map[string]found{"a.ini": jail("1")}, map[string]deployed{"a.ini": {Wish: "a", Sum: "1"}}, "", ""},
		{"what changed is applied again", map[string]found{"a.ini": jail("2")}, map[string]deployed{"a.ini": {Wish: "a", Sum: "1"}}, "", "+a.ini"},
		{"what a killed daemon began is done again", map[string]found{"a.ini": jail("1")}, map[string]deployed{"a.ini": {Wish: "a"}}, "", "+a.ini"},
		{"what somebody destroyed comes back", map[string]found{"a.ini": jail("1")}, map[string]deployed{"a.ini": {Wish: "a", Sum: "1"}}, "a", "+a.ini"},
		{"what is gone goes, before all else", map[string]found{"b.ini": net("2")}, map[string]deployed{"a.ini": {Wish: "a", Sum: "1"}}, "", "-a.ini +b.ini"},
		{"what is wrong waits", map[string]found{"a.ini": jail("1")}, map[string]deployed{"a.ini": {Sum: "1", Error: "bad", Next: later}}, "", ""},
		{"and is tried again", map[string]found{"a.ini": jail("1")}, map[string]deployed{"a.ini": {Sum: "1", Error: "bad", Next: now}}, "", "+a.ini"},
		{"at once when it changes", map[string]found{"a.ini": jail("2")}, map[string]deployed{"a.ini": {Sum: "1", Error: "bad", Next: later}}, "", "+a.ini"},
		{"what is wrong and goes is forgotten at once", nil, map[string]deployed{"a.ini": {Sum: "1", Error: "bad", Next: later}}, "", "-a.ini"},
		{"what cannot go waits", nil, map[string]deployed{"a.ini": {Wish: "a", Sum: "1", Error: "in use", Gone: true, Next: later}}, "", ""},
	} {
		var got []string
		for _, s := range nextDeploys(c.files, c.done, func(wish string) bool { return wish != c.gone }, now) {
			sign := "+"
			if s.remove {
				sign = "-"
			}
			got = append(got, sign+s.file)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: got %q, want %q", c.name, text, c.want)
		}
	}
}

func TestAFileThatFailsIsTriedLessAndLessOften(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var d deployed
	var waits []string
	for range 10 {
		d = d.failed("bad", now)
		waits = append(waits, fmt.Sprint(d.Next.Sub(now)))
	}
	if got := strings.Join(waits, " "); got != "2s 4s 8s 16s 32s 1m4s 2m0s 2m0s 2m0s 2m0s" {
		t.Errorf("it waits %s", got)
	}
}

func TestAnAlarmSaysTheFirstErrorAndItsHint(t *testing.T) {
	t.Parallel()
	got := told("web.ini:2:1: warning: dns is not used\n    dns=x\n    ^\nweb.ini:3:1: unknown key \"imgae\"\n    imgae=x\n    ~~~~^\n  did you mean \"image\"?\nrexctl: web.ini: 1 error\n")
	if want := `web.ini:3:1: unknown key "imgae": did you mean "image"?`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := told("\x1b[31m\xff" + strings.Repeat("x", 2000)); len(got) > 600 || strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	if got := told(""); got == "" {
		t.Error("an error without words ends the alarm")
	}
}
