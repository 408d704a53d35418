package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
)

func revertCommand() *cli.Command {
	return &cli.Command{
		Name: "revert", Usage: "wish again what was wished then", ArgsUsage: "[WISH...]",
		Description: "Plans all wishes, or those that are named, as they were, and applies them. Wishes that came later\n" +
			"are destroyed; volumes stay. The log only grows: a revert can be reverted.",
		Flags: append(append(waitFlags("healthy"), yesFlag()),
			&cli.StringFlag{Name: "to", Usage: "`INDEX` of the log, time, or while ago, as 120, 2026-01-31T15:04:05Z, 10m"}),
		Action: revert,
	}
}

func revert(c *cli.Context) error {
	if err := checkWait(c); err != nil {
		return err
	}
	if c.String("to") == "" {
		return usagef("back to when? as in: rexctl revert --to 10m")
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	then, now, err := wishesThenAndNow(c, client)
	if err != nil {
		return err
	}
	plans, err := revertPlans(c, client, then, now)
	if err != nil {
		return err
	}
	if len(plans) == 0 {
		return said(c, nil, "No changes.")
	}
	for _, p := range plans {
		if err := showPlan(c, p); err != nil {
			return err
		}
	}
	if err := confirm(c, "Apply all of this?"); err != nil {
		return err
	}
	for _, p := range plans {
		if err := commitRevert(c, client, p); err != nil {
			return err
		}
	}
	return nil
}

// commitRevert applies one wish as it was, or destroys one that was not.
func commitRevert(c *cli.Context, client *api.Client, p *planned) error {
	// An earlier wish of this revert has moved the log on; what is done is what
	// was shown, or nothing.
	shown := steps(p)
	if err := p.refresh(c.Context, client); err != nil {
		return fmt.Errorf("revert %s: %w", p.wish.Name, err)
	}
	if a, b := encoded(shown), encoded(steps(p)); !bytes.Equal(a, b) {
		return &exit{exitConflict, fmt.Errorf("revert %s: the cluster has changed since the plan was made\n  try: rexctl revert again", p.wish.Name)}
	}
	var done api.Applied
	var err error
	if p.destroy {
		done, err = client.DestroyWish(c.Context, p.wish.Name, p.plan.BaseIndex)
	} else {
		if err = buildMissing(c, client, p); err == nil {
			done, err = commit(c, client, p, p.plan.BaseIndex)
		}
	}
	if err != nil {
		return conflict(c, client, p, fmt.Errorf("revert %s: %w", p.wish.Name, err))
	}
	return follow(c, client, p, done)
}

func encoded(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // steps are strings and numbers
	}
	return b
}

// wishesThenAndNow are the wishes to compare, by name.
func wishesThenAndNow(c *cli.Context, client *api.Client) (then, now map[string]*spec.Wish, err error) {
	back, err := connectAt(c, c.String("to"))
	if err != nil {
		return nil, nil, err
	}
	defer back.Close()
	if then, err = wishesOf(c, back); err != nil {
		return nil, nil, err
	}
	if now, err = wishesOf(c, client); err != nil {
		return nil, nil, err
	}
	for _, name := range c.Args().Slice() {
		if then[name] == nil && now[name] == nil {
			return nil, nil, &api.Error{Code: "not_found", Object: "wish " + name, Message: "it was neither applied then nor is it now", Hint: "rexctl status"}
		}
	}
	return then, now, nil
}

func wishesOf(c *cli.Context, client *api.Client) (map[string]*spec.Wish, error) {
	rows, err := client.Wishes(c.Context)
	if err != nil {
		return nil, err
	}
	out := map[string]*spec.Wish{}
	for _, r := range rows {
		if only := c.Args().Slice(); len(only) > 0 && !slices.Contains(only, r.Name) {
			continue
		}
		if out[r.Name], err = client.Wish(c.Context, r.Name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// revertPlans plans what differs: first what goes, so that addresses and ports
// are free, then what comes back, each by name.
func revertPlans(c *cli.Context, client *api.Client, then, now map[string]*spec.Wish) ([]*planned, error) {
	var out []*planned
	for name := range now {
		if then[name] == nil {
			out = append(out, &planned{wish: &spec.Wish{Name: name}, destroy: true})
		}
	}
	for name, w := range then {
		if now[name] == nil || !bytes.Equal(encoded(w), encoded(now[name])) {
			out = append(out, &planned{wish: w})
		}
	}
	slices.SortFunc(out, func(a, b *planned) int {
		if a.destroy != b.destroy {
			if a.destroy {
				return -1
			}
			return 1
		}
		return compare(a.wish.Name, b.wish.Name)
	})
	keep := out[:0]
	for _, p := range out {
		p.dir, p.file = ".", p.wish.Name
		if err := p.refresh(c.Context, client); err != nil {
			return nil, fmt.Errorf("plan %s as it was: %w", p.wish.Name, err)
		}
		if p.changes() {
			keep = append(keep, p)
		}
	}
	return keep, nil
}
