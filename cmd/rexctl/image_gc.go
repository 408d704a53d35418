package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func imageGCCommand() *cli.Command {
	return &cli.Command{Name: "gc", Usage: "remove images and layers that nobody needs, on all hosts", Action: imageGC, Flags: []cli.Flag{
		&cli.BoolFlag{Name: "dry-run", Usage: "only say what would go"},
		&cli.IntFlag{Name: "keep-newest", Value: 3, Usage: "the `N` images that were built last stay, needed or not"},
		&cli.BoolFlag{Name: "bases", Usage: "also bases that no image stands on; they are made again when one needs them"},
		hostFlag("only on this `HOST`"), yesFlag(),
	}}
}

func imageGC(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	if c.Int("keep-newest") < 0 {
		return usagef("--keep-newest %d: want 0 or more", c.Int("keep-newest"))
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	ask := api.GCRequest{DryRun: true, KeepNewest: c.Int("keep-newest"), Bases: c.Bool("bases")}
	all, res, err := collect(c, client, ask)
	if err != nil {
		return err
	}
	if !c.Bool("dry-run") && len(res.Removed) > 0 {
		if err := confirm(c, "Remove "+collected(res)+"?"); err != nil {
			return err
		}
		ask.DryRun = false
		if all, res, err = collect(c, client, ask); err != nil {
			return err
		}
	}
	res.DryRun = c.Bool("dry-run")
	if structured(c) {
		return errors.Join(document(c, res), failedOf(all))
	}
	done := "removed "
	if res.DryRun {
		done = "would remove "
	}
	if !c.Bool("quiet") {
		reportGC(envOf(c), all, done)
	}
	return errors.Join(said(c, res, "%s%s", done, collected(res)), failedOf(all))
}

// reportGC tells what went, and where there are several hosts from which.
func reportGC(e *env, all []answered[api.GCResult], done string) {
	for _, a := range all {
		if a.err != nil {
			continue // is told at the end
		}
		at := ""
		if len(all) > 1 {
			at = a.host + ": "
		}
		for _, g := range a.got.Removed {
			e.note("%s%s %.19s %s %s", at, g.Kind, g.Key, g.Name, size(g.Bytes))
		}
		if len(all) > 1 {
			e.note("%s%s%s", at, done, collected(a.got))
		}
		if a.got.Busy {
			e.note("%sa build is under way: its layers stay\n  try: rexctl image gc, when it is done", at)
		}
	}
}

// collect has each host collect, and sums up. One that fails does not keep
// the others from it.
func collect(c *cli.Context, client *api.Client, ask api.GCRequest) ([]answered[api.GCResult], api.GCResult, error) {
	all, err := everyHost(c, client, func(ctx context.Context, on *api.Client) (api.GCResult, error) { return on.CollectImages(ctx, ask) })
	sum := api.GCResult{Removed: []api.Garbage{}}
	for _, a := range all {
		for _, g := range a.got.Removed {
			g.Host = a.host
			sum.Removed = append(sum.Removed, g)
		}
		sum.Bytes, sum.Busy = sum.Bytes+a.got.Bytes, sum.Busy || a.got.Busy
	}
	return all, sum, err
}

// collected sums up: 1 image, 2 layers, 5.0 MiB.
func collected(res api.GCResult) string {
	count := map[string]int{}
	for _, g := range res.Removed {
		count[g.Kind]++
	}
	return plural(count["image"], "image") + ", " + plural(count["layer"], "layer") + ", " + plural(count["base"], "base") + ", " + size(res.Bytes)
}
