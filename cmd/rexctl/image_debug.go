package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func imageDebugCommand() *cli.Command {
	return &cli.Command{
		Name: "debug", Usage: "a shell, or a command, in a throw-away jail on an image; nothing of it is kept",
		ArgsUsage: "NAME [-- CMD [ARG...]]", Action: imageDebug,
		Flags: []cli.Flag{&cli.StringFlag{Name: "shell", Value: "/bin/sh", Usage: "`PROGRAM` to run when no command is given"}, hostFlag("the `HOST` that runs it; default is one that has the image")},
	}
}

func imageDebug(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	req := api.ExecRequest{Argv: c.Args().Tail(), TTY: envOf(c).inTTY}
	if len(req.Argv) == 0 {
		req.Argv = []string{c.String("shell")}
	}
	name := c.Args().First()
	return connected(c, req, true, func(ctx context.Context, req api.ExecRequest, s api.ExecStreams) (int, error) {
		return client.On(c.String("host")).DebugImage(ctx, name, req, s)
	})
}
