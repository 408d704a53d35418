package hostagent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// checks tells when a service that answers as ok says is checked, in the first
// so many seconds, and what is made of it: "0.0 0.1 ... 2.1=unhealthy".
func checks(c spec.Check, until time.Duration, ok func(at time.Duration) bool) string {
	begun := time.Unix(1_900_000_000, 0)
	r := newRhythm(&c, begun)
	var out []string
	for at := time.Duration(0); at <= until; {
		says, wait := r.next(ok(at), begun.Add(at))
		text := fmt.Sprintf("%.1f", at.Seconds())
		if says != "" {
			text += "=" + string(says)
		}
		out = append(out, text)
		at += wait
	}
	return strings.Join(out, " ")
}

func from(t time.Duration) func(time.Duration) bool {
	return func(at time.Duration) bool { return at >= t }
}

// A jail that needs a moment is healthy a moment after it answers, not at the
// next interval.
func TestAJailIsHealthySoonAfterItAnswers(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, 30 * time.Second} {
		c := spec.Check{Interval: 10 * time.Second, Failures: 3, Grace: grace}
		for _, ready := range []time.Duration{0, 250 * time.Millisecond, 1500 * time.Millisecond, 7 * time.Second} {
			got := checks(c, 40*time.Second, from(ready))
			first, _, _ := strings.Cut(got, "="+string(fsm.HealthHealthy))
			var at float64
			if _, err := fmt.Sscan(first[strings.LastIndex(" "+first, " "):], &at); err != nil || at > (ready+ready/10).Seconds()+0.2 || strings.Contains(first, "unhealthy") {
				t.Errorf("ready after %s with a grace of %s: %s", ready, grace, got)
			}
		}
	}
}

// However often it is asked, it has Failures intervals to begin.
func TestEarlyFailuresCountOnceAnInterval(t *testing.T) {
	t.Parallel()
	never := func(time.Duration) bool { return false }
	got := checks(spec.Check{Interval: 2 * time.Second, Failures: 3}, 4200*time.Millisecond, never)
	first, _, _ := strings.Cut(got, "=unhealthy")
	var at float64
	if _, err := fmt.Sscan(first[strings.LastIndex(first, " ")+1:], &at); err != nil || at < 4 {
		t.Errorf("it is unhealthy too early: %s", got)
	}
	if got := checks(spec.Check{Interval: time.Second, Failures: 1, Grace: 3 * time.Second}, 2900*time.Millisecond, never); strings.Contains(got, "=") {
		t.Errorf("a verdict while it has grace: %s", got)
	}
}

// What was healthy is asked again at once when it fails, then at its interval.
func TestWhatFailsIsAskedOnceMoreAtOnce(t *testing.T) {
	t.Parallel()
	got := checks(spec.Check{Interval: time.Second, Failures: 3}, 5*time.Second, func(at time.Duration) bool { return at < 1500*time.Millisecond })
	if want := "0.0=healthy 1.0=healthy 2.0 2.1 3.1=unhealthy 4.1=unhealthy"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
