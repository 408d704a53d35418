package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func jailLogsCommand() *cli.Command {
	return &cli.Command{Name: "logs", Usage: "what jails print", ArgsUsage: "JAIL...", Action: logs, Description: "What the jail writes to its console and logs by syslog. The name of a group means all of its jails, wherever they run.", Flags: []cli.Flag{
		&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on as it is printed"},
		&cli.IntFlag{Name: "tail", Aliases: []string{"n"}, Value: -1, Usage: "only so many `LINES` from the end"},
		&cli.StringFlag{Name: "since", Usage: "only what was written since a `TIME` (2026-01-31T15:04:05Z), or in the last 10m"},
	}}
}

func logs(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	o := api.LogOptions{Follow: c.Bool("follow"), Tail: c.Int("tail")}
	var err error
	if o.Since, err = since(c.String("since"), time.Now()); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	names, err := loggers(c, client, c.Args().Slice())
	if err != nil {
		return err
	}
	e := envOf(c)
	if len(names) == 1 {
		return ignoreCancel(c.Context, client.Logs(c.Context, names[0], o, e.stdout))
	}
	return ignoreCancel(c.Context, manyLogs(c.Context, e, client, names, o))
}

// loggers are the jails that args name, each by its name or by that of its
// group, which means all of them.
func loggers(c *cli.Context, client *api.Client, args []string) ([]string, error) {
	if len(args) == 1 {
		if j, err := client.Jail(c.Context, args[0]); err == nil && args[0] != "" {
			return []string{j.Name}, nil
		}
	}
	rows, err := client.Jails(c.Context, api.JailFilter{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, arg := range args {
		found := replicas(rows, arg)
		if found == nil {
			if found, err = targets(rows, []string{arg}); err != nil {
				return nil, err
			}
		}
		for _, name := range found {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// replicas are the jails of a group, nil where arg is the name of a jail or of
// no group.
func replicas(rows []api.JailRow, arg string) (names []string) {
	for _, r := range rows {
		switch arg {
		case r.Name:
			return nil
		case r.Group:
			names = append(names, r.Name)
		}
	}
	return names
}

// since is the time that the user means; an index of the log is none here.
func since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := moment(text, now)
	if err == nil {
		var t time.Time
		if t, err = time.Parse(time.RFC3339Nano, at); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--since %q is no time as 2026-01-31T15:04:05Z, and no while as 10m", text)
}

// ignoreCancel: ctrl-C is how a stream is meant to end.
func ignoreCancel(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// manyLogs prints several logs at once, each line with its jail's name.
func manyLogs(ctx context.Context, e *env, client *api.Client, names []string, o api.LogOptions) error {
	width := 0
	for _, n := range names {
		width = max(width, len(n))
	}
	var mu sync.Mutex // guards stdout and failed
	var failed []error
	var wg sync.WaitGroup
	for _, name := range names {
		w := &prefixer{mu: &mu, w: e.stdout, prefix: fmt.Sprintf("%-*s | ", width, name)}
		wg.Go(func() {
			err := client.Logs(ctx, name, o, w)
			w.rest()
			if err != nil {
				mu.Lock()
				failed = append(failed, fmt.Errorf("logs of jail %s: %w", name, err))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// prefixer writes whole lines with a prefix.
type prefixer struct {
	mu     *sync.Mutex // guards w
	w      io.Writer
	prefix string
	held   []byte // the line that has not ended yet
}

// maxHeld bounds a line that is held back, in bytes.
const maxHeld = 64 << 10

func (p *prefixer) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			if p.held = append(p.held, b...); len(p.held) > maxHeld {
				return n, p.line(nil)
			}
			return n, nil
		}
		if err := p.line(b[:i]); err != nil {
			return 0, err
		}
		b = b[i+1:]
	}
	return n, nil
}

func (p *prefixer) line(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintf(p.w, "%s%s%s\n", p.prefix, p.held, b)
	p.held = nil
	return err
}

func (p *prefixer) rest() {
	if len(p.held) > 0 {
		_ = p.line(nil) // stdout is gone if this fails
	}
}
