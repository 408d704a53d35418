package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func topCommand() *cli.Command {
	return &cli.Command{
		Name: "top", Usage: "what running jails use: the busiest first; on a terminal again and again until ctrl-C", Action: top,
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "every", Value: 2 * time.Second, Usage: "between two looks, which is also what CPU is a share of"},
			&cli.IntFlag{Name: "times", Aliases: []string{"n"}, Usage: "print only so often (default: for ever on a terminal, else once)"},
			hostFlag("look at this `HOST` only; default is every one"),
		},
	}
}

// topLine is a jail's usage from one look to the next.
type topLine struct {
	api.UsageRow
	CPU float64 `json:"cpu"` // cores, since the look before
}

func top(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	every, times, e := c.Duration("every"), c.Int("times"), envOf(c)
	if every < 100*time.Millisecond || times < 0 {
		return usagef("--every wants at least 100ms, --times not less than 0")
	}
	screen := e.outTTY && !structured(c)
	if times == 0 && !screen {
		times = 1
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	before, err := usageOf(c, client)
	if err != nil {
		return err
	}
	for round := 1; ; round++ {
		select {
		case <-time.After(every):
		case <-c.Context.Done():
			return nil
		}
		now, err := usageOf(c, client)
		if err != nil {
			return ignoreCancel(c.Context, err)
		}
		if screen {
			_, _ = fmt.Fprintf(e.stdout, "\x1b[H\x1b[2J%s, every %s\n", clock(time.Now()), every) // the terminal is gone if this fails
		}
		if err := listTop(c, topLines(before, now)); err != nil || round == times {
			return err
		}
		before = now
	}
}

func usageOf(c *cli.Context, client *api.Client) ([]api.UsageRow, error) {
	all, err := everyHost(c, client, func(ctx context.Context, on *api.Client) ([]api.UsageRow, error) { return on.Usage(ctx) })
	if err != nil {
		return nil, err
	}
	var rows []api.UsageRow
	for _, a := range all {
		rows = append(rows, a.got...)
		if a.err != nil {
			envOf(c).note("%v", a.err)
		}
	}
	if len(rows) == 0 {
		return nil, failedOf(all)
	}
	return rows, nil
}

// topLines compares two looks; the busiest is first. A jail that started
// between them counts from its start.
func topLines(before, now []api.UsageRow) []topLine {
	last := map[string]api.UsageRow{}
	for _, r := range before {
		last[r.Host+"/"+r.Jail] = r
	}
	out := make([]topLine, 0, len(now))
	for _, r := range now {
		l := topLine{UsageRow: r}
		was, ok := last[r.Host+"/"+r.Jail]
		if span := r.At.Sub(was.At).Seconds(); ok && span > 0 && r.CPUSeconds >= was.CPUSeconds { // less: it was restarted
			l.CPU = (r.CPUSeconds - was.CPUSeconds) / span
		}
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b topLine) int {
		return cmp.Or(cmp.Compare(b.CPU, a.CPU), cmp.Compare(b.MemoryBytes, a.MemoryBytes), cmp.Compare(a.Jail, b.Jail))
	})
	return out
}

func listTop(c *cli.Context, lines []topLine) error {
	return list(c, lines, func(l topLine) string { return l.Jail }, []column[topLine]{
		{title: "JAIL", get: func(l topLine) string { return l.Jail }},
		{title: "HOST", get: func(l topLine) string { return l.Host }},
		{title: "CPU", get: func(l topLine) string { return fmt.Sprintf("%.1f%%", 100*l.CPU) }},
		{title: "MEMORY", get: func(l topLine) string { return size(l.MemoryBytes) }},
		{title: "LIMIT", get: func(l topLine) string {
			if l.MemoryLimit == 0 {
				return "none"
			}
			return size(l.MemoryLimit)
		}, mood: func(l topLine) mood {
			if l.MemoryLimit > 0 && l.MemoryBytes > l.MemoryLimit*9/10 {
				return warning
			}
			return plain
		}},
		{title: "PROCESSES", get: func(l topLine) string { return fmt.Sprint(l.Processes) }},
		{title: "CPU TIME", get: func(l topLine) string { return time.Duration(l.CPUSeconds * 1e9).Round(10 * time.Millisecond).String() }},
		{title: "PEAK", wide: true, get: func(l topLine) string { return size(l.MemoryPeak) }},
	})
}
