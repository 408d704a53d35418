package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func checkWait(c *cli.Context) error {
	switch c.String("wait") {
	case "healthy", "dns", "none":
	default:
		return usagef("--wait=%s: want healthy, dns or none", c.String("wait"))
	}
	if c.Duration("timeout") <= 0 {
		return usagef("--timeout %s: want more than nothing, as 5m", c.Duration("timeout"))
	}
	return nil
}

// waiter follows a wish until its jails are as wanted. It only looks: ending
// it changes nothing.
type waiter struct {
	c       *cli.Context
	e       *env
	client  *api.Client
	wish    string
	mode    string
	timeout time.Duration
	gone    map[string]bool // must disappear
	only    []string        // when set: just these jails
	want    func(api.JailRow) (done, hopeless bool)

	told   map[string]string // what was said of each jail last
	looked time.Time         // at what hosts fetch
	live   bool              // an unfinished line is on the terminal
}

// pace is the least time between two looks, so that a busy log does not make
// a busy client.
const pace = 50 * time.Millisecond

// run waits and returns the jails as they were seen last.
func (w *waiter) run() ([]api.JailRow, error) {
	w.told = map[string]string{}
	if w.want == nil {
		w.want = up
	}
	filter := api.JailFilter{Wish: w.wish}
	if w.mode == "none" {
		jails, err := w.client.Jails(w.c.Context, filter)
		return jails, err
	}
	ctx, cancel := context.WithTimeout(w.c.Context, w.timeout)
	defer cancel()
	var jails []api.JailRow
	var index uint64
	for {
		next, at, err := w.client.JailsAfter(ctx, filter, index, w.patience())
		if err != nil {
			return jails, w.ended(ctx, jails, err)
		}
		jails, index = w.chosen(next), at
		missing, hopeless := w.look(ctx, jails)
		if len(missing) == 0 {
			w.settle(ctx, index)
			return jails, nil
		}
		if hopeless {
			return jails, w.partial(jails, missing, "will not come up by themselves")
		}
		w.fetches(ctx, jails)
		select {
		case <-ctx.Done():
			return jails, w.ended(ctx, jails, ctx.Err())
		case <-time.After(pace):
		}
	}
}

// settle waits until what was seen has reached this host's published ports, so
// that the next command can use them. A host that cannot do its networks says
// so itself, and is no reason to call the jails not done.
func (w *waiter) settle(ctx context.Context, index uint64) {
	if err := w.client.Settled(ctx, index, 5*time.Second); err != nil && ctx.Err() == nil {
		w.say("networks: %v", err)
	}
}

func (w *waiter) chosen(jails []api.JailRow) []api.JailRow {
	if w.only == nil {
		return jails
	}
	return slices.DeleteFunc(jails, func(j api.JailRow) bool { return !slices.Contains(w.only, j.Name) })
}

// look says what is new and returns what is not done yet; hopeless when all
// of that can only be helped by the user.
func (w *waiter) look(ctx context.Context, jails []api.JailRow) (missing []string, hopeless bool) {
	hopeless = true
	there := map[string]bool{}
	for _, j := range jails {
		there[j.Name] = true
		done, lost := w.want(j)
		if done && w.mode == "dns" && j.Want == "running" && !w.answers(ctx, j) {
			done = false
		}
		w.tell(j, done)
		if !done {
			missing = append(missing, j.Name)
			hopeless = hopeless && lost
		}
	}
	for name := range w.gone {
		if !there[name] && w.told[name] != "removed" {
			w.told[name] = "removed"
			w.say("jail %s: removed", name)
		}
	}
	return missing, hopeless
}

// up is done when the jail is as its wish has it, and healthy.
func up(j api.JailRow) (done, hopeless bool) {
	switch j.Want {
	case "gone":
		return false, false // it is in the list, so it is still there
	case "stopped":
		return slices.Contains([]string{"stopped", "failed", "lost"}, j.Phase), false
	}
	if !j.UpToDate {
		return false, false
	}
	switch {
	case j.Phase == "running":
		return j.Health == "healthy", false
	case j.Phase == "stopped" && j.Policy != "always":
		return true, false // it has done its work
	}
	return false, j.Phase == "failed" && j.Policy == "never"
}

func (w *waiter) answers(ctx context.Context, j api.JailRow) bool {
	if len(j.Addresses) == 0 {
		return true
	}
	show, err := w.client.Jail(ctx, j.Name)
	if err != nil || len(show.Names) == 0 {
		return err == nil
	}
	answer, err := w.client.QueryDNS(ctx, show.Names[0], "A")
	if err != nil {
		return false
	}
	for _, a := range answer.Answers {
		if slices.Contains(j.Addresses, a.Data) {
			return true
		}
	}
	return false
}

// tell prints one line for each jail as it becomes done, and for failures.
func (w *waiter) tell(j api.JailRow, done bool) {
	var word string
	switch {
	case done && j.Want == "running":
		word = cell(j.Phase, j.Simulated)
		if j.Phase == "running" {
			word = cell(j.Health, j.Simulated)
		}
	case done:
		word = "stopped"
	case j.Phase == "failed" || j.Health == "unhealthy":
		word = j.Phase + ", " + j.Health
	default:
		return
	}
	if w.told[j.Name] == word {
		return
	}
	w.told[j.Name] = word
	line := fmt.Sprintf("jail %s: %s", j.Name, word)
	if done && j.Host != "" {
		line += " on " + j.Host
	}
	if done && len(j.Addresses) > 0 {
		line += " at " + strings.Join(j.Addresses, ", ")
	}
	if !done && j.Reason != "" {
		line += ": " + j.Reason
	}
	w.say("%s", clean(line))
}

func (w *waiter) say(format string, args ...any) {
	if w.live {
		_, _ = fmt.Fprint(w.e.stderr, "\r\x1b[K")
		w.live = false
	}
	if !w.c.Bool("quiet") {
		w.e.note(format, args...)
	}
}

// ended turns the end of the wait into what the user should know.
func (w *waiter) ended(ctx context.Context, jails []api.JailRow, err error) error {
	missing, _ := w.look(w.c.Context, jails)
	switch {
	case w.c.Context.Err() != nil: // ctrl-C: the user does not want to wait
		w.e.note("detached: the cluster goes on without you. Look with: rexctl ps")
		return &exit{code: exitPartial}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return w.partial(jails, missing, "were not done after "+w.timeout.String())
	}
	return err
}

// partial says which jails are missing, and why.
func (w *waiter) partial(jails []api.JailRow, missing []string, what string) error {
	const most = 20
	if len(jails) == 0 && len(missing) == 0 {
		return &exit{exitPartial, fmt.Errorf("the jails of %s %s\n  try: rexctl ps", w.wish, what)}
	}
	ctx, cancel := context.WithTimeout(w.c.Context, 10*time.Second)
	defer cancel()
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %s %s:", len(missing), plural(len(jails), "jail"), what)
	for i, name := range missing {
		if i == most {
			fmt.Fprintf(&b, "\n  ... and %d more", len(missing)-most)
			break
		}
		fmt.Fprintf(&b, "\n  jail %s", name)
		why, err := w.client.Why(ctx, "jail "+name)
		if err != nil {
			continue
		}
		fmt.Fprintf(&b, ": %s", clean(why.Summary))
		for _, r := range why.Reasons {
			fmt.Fprintf(&b, "\n    %s", clean(r))
		}
	}
	fmt.Fprintf(&b, "\n  try: rexctl logs %s", missing[0])
	return &exit{exitPartial, errors.New(b.String())}
}
