package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func rebalanceCommand() *cli.Command {
	return &cli.Command{
		Name: "rebalance", Usage: "move jails to hosts that they would be placed on now", Action: rebalance,
		Description: "Jails never move by themselves when a host joins. This shows which moves gain most, asks, and does one after the other: the next when the jail of the last is healthy where it went. Jails with volumes of their own stay.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "max-moves", Value: 10, Usage: "at most `N` moves"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only show them"},
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "of each move; exit 3 when it is over"},
			yesFlag(),
		},
	}
}

func rebalance(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	if n := c.Int("max-moves"); n < 1 {
		return usagef("--max-moves %d: want 1 or more", n)
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	shifts, err := client.Rebalance(c.Context, c.Int("max-moves"))
	if err != nil {
		return err
	}
	if len(shifts) == 0 && !structured(c) {
		return said(c, nil, "nothing to gain: every jail is where it would be placed now, or not far from as good")
	}
	err = list(c, shifts, func(s api.Shift) string { return s.Jail }, []column[api.Shift]{
		{title: "JAIL", get: func(s api.Shift) string { return s.Jail }},
		{title: "FROM", get: func(s api.Shift) string { return s.From }},
		{title: "TO", get: func(s api.Shift) string { return s.To }},
		{title: "GAIN", get: func(s api.Shift) string { return fmt.Sprintf("%+.2f", s.Gain) }},
		{title: "SCORE THERE", get: func(s api.Shift) string { return s.Why }},
	})
	if err != nil || c.Bool("dry-run") || len(shifts) == 0 {
		return err
	}
	if err := confirm(c, fmt.Sprintf("Move %d %s, one after the other?", len(shifts), noun(len(shifts), "jail"))); err != nil {
		return err
	}
	for i, s := range shifts {
		if err := shiftOne(c, client, s); err != nil {
			return fmt.Errorf("move %d of %d: %w", i+1, len(shifts), err)
		}
		envOf(c).note("%s is healthy on %s, %d of %d", safe(s.Jail), safe(s.To), i+1, len(shifts))
	}
	return nil
}

// shiftOne moves a jail and waits until it is healthy there.
func shiftOne(c *cli.Context, client *api.Client, s api.Shift) error {
	done, err := client.MoveJail(c.Context, s.Jail, api.MoveRequest{To: s.To})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	for index := done.Index - 1; ; {
		rows, at, err := client.JailsAfter(ctx, api.JailFilter{}, index, 10*time.Second)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if ctx.Err() != nil {
			return &exit{exitPartial, fmt.Errorf("%s is not healthy on %s after %v: nothing else is moved\n  try: rexctl why %s", s.Jail, s.To, c.Duration("timeout"), s.Jail)}
		}
		index = at
		for _, r := range rows {
			if r.Name == s.Jail && r.Host == s.To && r.Health == "healthy" {
				return nil
			}
		}
		moves, _, err := client.Moves(ctx, s.Jail, 0, 0)
		if err != nil {
			return err
		}
		if n := len(moves); n > 0 && moves[n-1].Phase == "failed" {
			return fmt.Errorf("move jail %s to %s: %s: nothing else is moved", s.Jail, s.To, moves[n-1].Error)
		}
	}
}
