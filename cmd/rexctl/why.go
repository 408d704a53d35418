package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

// placementCommands ask where jails run, would run, or should run.
func placementCommands() []*cli.Command {
	return []*cli.Command{whyNotCommand(), whatIfCommand(), rebalanceCommand()}
}

func whyNotCommand() *cli.Command {
	return &cli.Command{
		Name: "why-not", Usage: "why a jail does not run on a host", ArgsUsage: "JAIL HOST", Action: whyNot,
		Description: "Each filter and each term of the score is the scheduler's own answer. Without HOST every host answers.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "host", Usage: "the `HOST`, instead of the second argument"},
			&cli.StringFlag{Name: "file", Usage: "answer as if this cluster `FILE` had been applied"},
			varFlag(),
		},
	}
}

func whyNot(c *cli.Context) error {
	if err := wantArgs(c, 1, 2); err != nil {
		return err
	}
	host := c.String("host")
	if c.NArg() == 2 {
		if host != "" {
			return usagef("two hosts: %s and --host %s", safe(c.Args().Get(1)), safe(host))
		}
		host = c.Args().Get(1)
	}
	client, p, err := askPlacement(c)
	if err != nil {
		return err
	}
	defer client.Close()
	best := bestOf(p)
	if host != "" {
		if p.Hosts, err = onlyHost(p, host); err != nil {
			return err
		}
	}
	if structured(c) {
		return document(c, p)
	}
	var b strings.Builder
	b.WriteString(p.Summary + "\n")
	for i := range p.Hosts {
		hostAnswer(&b, &p, &p.Hosts[i], best)
	}
	_, err = fmt.Fprint(envOf(c).stdout, cleanLines(b.String()))
	return err
}

// askPlacement asks for the jail that is named first, as it is or as a file
// would have it.
func askPlacement(c *cli.Context) (*api.Client, api.Placement, error) {
	if name := c.String("file"); name != "" {
		client, err := connect(c)
		if err != nil {
			return nil, api.Placement{}, err
		}
		p, err := makePlan(c, client, name)
		if err != nil {
			client.Close()
			return nil, api.Placement{}, err
		}
		out, err := client.Placement(c.Context, c.Args().First(), p.wish)
		if err != nil {
			client.Close()
			return nil, out, err
		}
		return client, out, nil
	}
	client, name, err := one(c)
	if err != nil {
		return nil, api.Placement{}, err
	}
	out, err := client.Placement(c.Context, name, nil)
	if err != nil {
		client.Close()
		return nil, out, err
	}
	return client, out, nil
}

// onlyHost is the one that is called name, by name or id.
func onlyHost(p api.Placement, name string) ([]api.PlacementHost, error) {
	var names []string
	for _, h := range p.Hosts {
		if h.Name == name || string(h.ID) == name {
			return []api.PlacementHost{h}, nil
		}
		names = append(names, h.Name)
	}
	hint := "rexctl host ls"
	if near := nearest(name, names); near != "" {
		hint = "rexctl why-not " + p.Jail + " " + near
	}
	return nil, &api.Error{Code: "not_found", Object: "host " + safe(name), Message: "no such host", Hint: hint}
}

// bestOf is the host that would be chosen now, nil if there is none.
func bestOf(p api.Placement) *api.PlacementHost {
	for _, h := range p.Hosts {
		if h.Name == p.Best {
			return &h
		}
	}
	return nil
}

func hostAnswer(b *strings.Builder, p *api.Placement, h *api.PlacementHost, best *api.PlacementHost) {
	switch {
	case !h.Fits:
		fmt.Fprintf(b, "%s: no\n", h.Name)
		for _, f := range h.Filters {
			if !f.OK {
				fmt.Fprintf(b, "  %s: %s\n", f.Filter, f.Why)
			}
		}
		return
	case h.Current:
		fmt.Fprintf(b, "%s: it is here, score %+.2f without it\n", h.Name, h.Score)
	case h.Name == p.Best:
		fmt.Fprintf(b, "%s: the best now, score %+.2f\n", h.Name, h.Score)
	case best != nil:
		fmt.Fprintf(b, "%s: it fits, but %s is better: score %+.2f, not %+.2f\n", h.Name, best.Name, h.Score, best.Score)
	default:
		fmt.Fprintf(b, "%s: it fits, score %+.2f\n", h.Name, h.Score)
	}
	for _, t := range h.Terms {
		fmt.Fprintf(b, "  %s %+.2f\n", t.Name, t.Value)
	}
}
