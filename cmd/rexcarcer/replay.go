package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/cluster"
)

// replayCommand applies an archived log again and compares the chain of each
// archived State with what comes out.
func replayCommand() *cli.Command {
	return &cli.Command{
		Name: "replay", Usage: "apply an archived log again", ArgsUsage: "DIR",
		Description: "DIR is a data directory's archive/. Example:\n\n   rexcarcer replay /var/db/rexcarcer/archive -verify",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "verify", Usage: "compare every archived State's hash"}},
		Action: func(c *cli.Context) error {
			dir, verify := "", c.Bool("verify")
			for _, a := range c.Args().Slice() { // flags may stand behind DIR
				if a == "-verify" || a == "--verify" {
					verify = true
				} else {
					dir = a
				}
			}
			if dir == "" {
				return usageError{fmt.Errorf("which archive? rexcarcer replay DIR -verify")}
			}
			return replay(c.Context, dir, verify, c)
		},
	}
}

func replay(ctx context.Context, dir string, verify bool, c *cli.Context) error {
	r, err := cluster.Replay(ctx, dir, verify)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "replayed %d entries up to index %d, chain %x; compared %d states, all equal\n", r.Entries, r.Index, r.Chain, r.Compared)
	return err
}
