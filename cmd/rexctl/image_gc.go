package main

import (
	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func imageGCCommand() *cli.Command {
	return &cli.Command{Name: "gc", Usage: "remove images and layers that nobody needs from the host that answers", Action: imageGC, Flags: []cli.Flag{
		&cli.BoolFlag{Name: "dry-run", Usage: "only say what would go"},
		&cli.IntFlag{Name: "keep-newest", Value: 3, Usage: "the `N` images that were built last stay, needed or not"},
		&cli.BoolFlag{Name: "bases", Usage: "also bases that no image stands on; they are made again when one needs them"},
		yesFlag(),
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
	res, err := client.CollectImages(c.Context, ask)
	if err != nil {
		return err
	}
	if !c.Bool("dry-run") && len(res.Removed) > 0 {
		if err := confirm(c, "Remove "+collected(res)+"?"); err != nil {
			return err
		}
		ask.DryRun = false
		if res, err = client.CollectImages(c.Context, ask); err != nil {
			return err
		}
	}
	res.DryRun = c.Bool("dry-run")
	if structured(c) {
		return document(c, res)
	}
	e := envOf(c)
	if !c.Bool("quiet") {
		for _, g := range res.Removed {
			e.note("%s %.19s %s %s", g.Kind, g.Key, g.Name, size(g.Bytes))
		}
		if res.Busy {
			e.note("a build is under way: its layers stay\n  try: rexctl image gc, when it is done")
		}
	}
	done := "removed "
	if res.DryRun {
		done = "would remove "
	}
	return said(c, res, "%s%s", done, collected(res))
}

// collected sums up: 1 image, 2 layers, 5.0 MiB.
func collected(res api.GCResult) string {
	count := map[string]int{}
	for _, g := range res.Removed {
		count[g.Kind]++
	}
	return plural(count["image"], "image") + ", " + plural(count["layer"], "layer") + ", " + plural(count["base"], "base") + ", " + size(res.Bytes)
}
