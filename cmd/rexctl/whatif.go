package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
)

func whatIfCommand() *cli.Command {
	return &cli.Command{
		Name: "what-if", Usage: "where jails would go if hosts were lost, drained or added, or a file applied", Action: whatIf,
		Description: "All that is named is tried together, on a copy: nothing happens. Exit 2 when a jail would wait that does not wait now.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "kill", Aliases: []string{"host-lost"}, Usage: "this `HOST` is lost, repeatable"},
			&cli.StringSliceFlag{Name: "drain", Usage: "this `HOST` is drained, repeatable"},
			&cli.StringSliceFlag{Name: "add-host", Usage: "a host joins, as cpu=8,mem=32G[,name=h9][,label.rack=r1][,os=freebsd], repeatable"},
			&cli.StringSliceFlag{Name: "scale", Usage: "a jail has another count, as `JAIL=20`, repeatable"},
			&cli.StringFlag{Name: "apply", Usage: "this cluster `FILE` is applied"},
			&cli.StringFlag{Name: "loss-of", Usage: "any-1: the loss of each host, one after the other"},
			varFlag(),
		},
	}
}

func whatIf(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	in := api.WhatIf{Lost: c.StringSlice("kill"), Drain: c.StringSlice("drain")}
	for _, text := range c.StringSlice("add-host") {
		h, err := newHost(text)
		if err != nil {
			return usagef("--add-host %s: %v", safe(text), err)
		}
		in.Add = append(in.Add, h)
	}
	for _, text := range c.StringSlice("scale") {
		name, count, _ := strings.Cut(text, "=")
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return usagef("--scale %s: want JAIL=COUNT", safe(text))
		}
		if in.Scale == nil {
			in.Scale = map[string]int{}
		}
		in.Scale[name] = n
	}
	any1 := c.String("loss-of")
	if any1 != "" && any1 != "any-1" {
		return usagef("--loss-of %s: want any-1", safe(any1))
	}
	if any1 == "" && c.String("apply") == "" && len(in.Lost)+len(in.Drain)+len(in.Add)+len(in.Scale) == 0 {
		return usagef("what if what?\n  try: rexctl what-if --kill HOST")
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if file := c.String("apply"); file != "" {
		p, err := makePlan(c, client, file)
		if err != nil {
			return err
		}
		in.Wish = p.wish
	}
	if any1 != "" {
		return lossOfAny(c, client, in)
	}
	out, err := client.WhatIf(c.Context, in)
	if err != nil {
		return err
	}
	if structured(c) {
		err = document(c, out)
	} else {
		err = showOutcome(c, out)
	}
	if err == nil && !out.Fits {
		err = &exit{code: exitChanges}
	}
	return err
}

// newHost reads cpu=8,mem=32G,label.rack=r1.
func newHost(text string) (api.NewHost, error) {
	h := api.NewHost{Labels: map[string]string{}}
	for _, part := range strings.Split(text, ",") {
		k, v, _ := strings.Cut(part, "=")
		label, isLabel := strings.CutPrefix(k, "label.")
		switch {
		case isLabel && label != "":
			h.Labels[label] = v
		case k == "name":
			h.Name = v
		case k == "os":
			h.OS = v
		case k == "arch":
			h.Arch = v
		case k == "cpu":
			n, err := strconv.ParseFloat(v, 64)
			if err != nil || n <= 0 || n > 1<<20 {
				return h, fmt.Errorf("cpu=%s is no number of processors", v)
			}
			h.Capacity.MilliCPU = int64(n * 1000)
		case k == "mem":
			n, err := spec.ParseSize(v)
			if err != nil {
				return h, fmt.Errorf("mem: %w", err)
			}
			h.Capacity.MemoryBytes = n
		default:
			return h, fmt.Errorf("%q is not cpu=, mem=, name=, os=, arch= or label.KEY=", part)
		}
	}
	return h, nil
}

func showOutcome(c *cli.Context, out api.Outcome) error {
	e := envOf(c)
	var b strings.Builder
	for _, j := range out.Jails {
		switch {
		case j.From == "":
			fmt.Fprintf(&b, "+ %s  would start on %s  %s\n", j.Jail, j.To, j.Why)
		case j.To == "" && j.Why == "":
			fmt.Fprintf(&b, "- %s  would be gone from %s\n", j.Jail, j.From)
		case j.To == "":
			fmt.Fprintf(&b, "! %s  would lose its place on %s and wait: %s\n", j.Jail, j.From, j.Why)
		default:
			fmt.Fprintf(&b, "> %s  %s -> %s  %s\n", j.Jail, j.From, j.To, j.Why)
		}
	}
	moved := map[string]bool{}
	for _, j := range out.Jails {
		moved[j.Jail] = true
	}
	for _, w := range out.Waiting {
		if !moved[w.Jail] {
			fmt.Fprintf(&b, "! %s  would wait: %s\n", w.Jail, w.Why)
		}
	}
	if b.Len() == 0 {
		b.WriteString("no jail would be elsewhere, and none would wait\n")
	}
	if _, err := fmt.Fprint(e.stdout, cleanLines(b.String())); err != nil {
		return err
	}
	if c.Bool("quiet") {
		return nil
	}
	return table(e, out.Hosts, []column[api.HostFill]{
		{title: "HOST", get: func(h api.HostFill) string { return h.Name }},
		{title: "STATE", get: func(h api.HostFill) string { return h.State }},
		{title: "JAILS", get: func(h api.HostFill) string { return fmt.Sprintf("%d -> %d", h.Before.Jails, h.After.Jails) }},
		{title: "CPU", get: func(h api.HostFill) string { return share(h.Before.MilliCPU, h.After.MilliCPU, h.Capacity.MilliCPU) }},
		{title: "MEMORY", get: func(h api.HostFill) string {
			return share(h.Before.MemoryBytes, h.After.MemoryBytes, h.Capacity.MemoryBytes)
		}},
	}, false, !c.Bool("no-header"))
}

// share is how much of a capacity is reserved, before and after.
func share(before, after, of int64) string {
	if of <= 0 {
		return ""
	}
	return fmt.Sprintf("%d%% -> %d%%", before*100/of, after*100/of)
}

// loss is what the loss of one host would come to.
type loss struct {
	Host    string      `json:"host"`
	Fits    bool        `json:"fits"`
	Moves   int         `json:"moves"`
	Waiting []api.Waits `json:"waiting"`
}

// lossOfAny tries the loss of each host that is alive.
func lossOfAny(c *cli.Context, client *api.Client, in api.WhatIf) error {
	hosts, err := client.Hosts(c.Context)
	if err != nil {
		return err
	}
	rows, lost := []loss{}, in.Lost
	for _, h := range hosts {
		if h.State != "alive" || slices.Contains(lost, h.Name) || slices.Contains(lost, string(h.ID)) {
			continue
		}
		in.Lost = append(slices.Clone(lost), h.Name)
		out, err := client.WhatIf(c.Context, in)
		if err != nil {
			return fmt.Errorf("loss of %s: %w", h.Name, err)
		}
		row := loss{Host: h.Name, Fits: out.Fits, Waiting: out.Waiting}
		for _, j := range out.Jails {
			if j.From == h.Name && j.To != "" {
				row.Moves++
			}
		}
		rows = append(rows, row)
	}
	err = list(c, rows, func(r loss) string { return r.Host }, []column[loss]{
		{title: "LOSS OF", get: func(r loss) string { return r.Host }},
		{title: "FITS", get: func(r loss) string { return yes(r.Fits) }},
		{title: "MOVE", get: func(r loss) string { return fmt.Sprint(r.Moves) }},
		{title: "WAIT", get: func(r loss) string { return fmt.Sprint(len(r.Waiting)) }},
		{title: "FIRST THAT WAITS", get: func(r loss) string {
			if len(r.Waiting) == 0 {
				return ""
			}
			return r.Waiting[0].Jail + ": " + r.Waiting[0].Why
		}},
	})
	if err == nil && slices.ContainsFunc(rows, func(r loss) bool { return !r.Fits }) {
		err = &exit{code: exitChanges}
	}
	return err
}
