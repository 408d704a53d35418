package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func drainCommand() *cli.Command {
	return &cli.Command{
		Name: "drain", Usage: "move a host's jails away", ArgsUsage: "HOST", Action: drain,
		Description: "Groups leave at the pace of their update block. With --parallel so many jails of the host are on their way at once, each counted until what replaces it is healthy. A jail that no other host takes stays, until the deadline.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "parallel", Usage: "`N` jails on their way at once; 0: as their groups allow"},
			&cli.DurationFlag{Name: "deadline", Usage: "after this time those that are still there are stopped at once, as 10m"},
			&cli.BoolFlag{Name: "wait", Usage: "show what leaves, until the host is empty"},
			&cli.DurationFlag{Name: "timeout", Value: 30 * time.Minute, Usage: "of the wait; exit 3 when it is over"},
		},
	}
}

func drain(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	in := api.DrainRequest{Parallel: c.Int("parallel")}
	if d := c.Duration("deadline"); d != 0 {
		in.Deadline = d.String()
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	host, err := client.Host(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	done, err := client.DrainHostAt(c.Context, host.Name, in)
	if err != nil {
		return err
	}
	if err := told(c, done); err != nil || !c.Bool("wait") {
		return err
	}
	return empties(c, client, host.Name)
}

// empties tells what leaves the host until nothing is there.
func empties(c *cli.Context, client *api.Client, host string) error {
	e := envOf(c)
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	var index uint64
	var before []string
	for {
		rows, at, err := client.JailsAfter(ctx, api.JailFilter{}, index, 10*time.Second)
		if err != nil && ctx.Err() != nil {
			return stuck(c, client, host, before)
		}
		if err != nil {
			return err
		}
		index = at
		var left []string
		for _, r := range rows {
			if r.Host == host && r.Phase != "stopped" && r.Phase != "failed" && r.Phase != "lost" {
				left = append(left, r.Name)
			}
		}
		for _, name := range before {
			if slices.Contains(left, name) || c.Bool("quiet") {
				continue
			}
			to := "has stopped"
			for _, r := range rows {
				if r.Name == name && r.Host != host {
					to = "is on " + r.Host
				}
			}
			e.note("%s has left %s and %s, %d to go", clean(name), clean(host), clean(to), len(left))
		}
		if before = left; len(left) == 0 {
			return said(c, nil, "host %s is empty", host)
		}
	}
}

// stuck says why jails are still there.
func stuck(c *cli.Context, client *api.Client, host string, left []string) error {
	const few = 5
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s still on %s:", len(left), noun(len(left), "jail"), safe(host))
	for _, name := range left[:min(few, len(left))] {
		fmt.Fprintf(&b, "\n  %s", safe(name))
		if p, err := client.Placement(context.WithoutCancel(c.Context), name, nil); err == nil && p.Waiting != "" {
			b.WriteString(": " + clean(p.Waiting))
		}
	}
	return &exit{exitPartial, fmt.Errorf("%s\n  try: rexctl host undrain %s, or --deadline", b.String(), safe(host))}
}
