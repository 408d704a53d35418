package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func networkExplainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "the way of a jail's packets as it is found on its host: interface, bridge, router, NAT, rules, routes, DNS; exit 1 where it is not as wished",
		ArgsUsage: "JAIL", Action: explainNetwork,
	}
}

func networkConsoleCommand() *cli.Command {
	return &cli.Command{
		Name: "console", Usage: "a shell, or a command, in the place of a network's router: a way into the network from which to go on",
		ArgsUsage: "NETWORK [-- CMD [ARG...]]", Action: networkConsole,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "image", Usage: "`IMAGE` whose programs are there; default is that of a jail of the network"},
			hostFlag("the `HOST` whose router it is; default is the one that is asked"),
		},
	}
}

func explainNetwork(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	client, name, err := one(c)
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := client.JailPath(c.Context, name)
	if err != nil {
		return err
	}
	if structured(c) {
		err = document(c, p)
	} else {
		err = printPath(c, p)
	}
	if err == nil && len(p.Differences) > 0 {
		err = &exit{code: exitError}
	}
	return err
}

func printPath(c *cli.Context, p api.JailPath) error {
	e := envOf(c)
	if _, err := fmt.Fprintf(e.stdout, "jail %s on host %s, as found there:\n", clean(p.Jail), clean(p.Host)); err != nil {
		return err
	}
	cells := make([][]string, 0, len(p.Steps))
	moods := make([][]mood, 0, len(p.Steps))
	where := ""
	for _, s := range p.Steps {
		line := []string{"  " + s.Where, s.What, clean(s.Found)}
		if s.Where == where {
			line[0] = "  "
		}
		where = s.Where
		cells, moods = append(cells, line), append(moods, make([]mood, len(line)))
	}
	if err := align(e.stdout, cells, moods, false); err != nil {
		return err
	}
	if len(p.Differences) == 0 {
		_, err := fmt.Fprintln(e.stdout, "all of it is as wished")
		return err
	}
	for _, d := range p.Differences {
		if _, err := fmt.Fprintf(e.stdout, "not as wished: %s\n", clean(d)); err != nil {
			return err
		}
	}
	return nil
}

func networkConsole(c *cli.Context) error {
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
		req.Argv = []string{"/bin/sh"}
	}
	network := c.Args().First()
	return connected(c, req, true, func(ctx context.Context, req api.ExecRequest, s api.ExecStreams) (int, error) {
		return client.On(c.String("host")).NetworkConsole(ctx, network, c.String("image"), req, s)
	})
}
