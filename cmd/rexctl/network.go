package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func networkCommand() *cli.Command {
	return &cli.Command{Name: "network", Usage: "networks: create, ls, show, leases, rules, proxy, explain, console, rm", Subcommands: []*cli.Command{
		networkCreateCommand(),
		networkLsCommand(),
		{
			Name: "show", Usage: "all about a network", ArgsUsage: "NETWORK",
			Action: asking(1, 1, func(c *cli.Context, a *api.Client) (api.NetworkRow, error) {
				return a.Network(c.Context, c.Args().First())
			}, showNetwork),
		},
		{
			Name: "leases", Usage: "who has which address", ArgsUsage: "[NETWORK]",
			Action: asking(0, 1, func(c *cli.Context, a *api.Client) ([]api.LeaseRow, error) {
				return a.Leases(c.Context, c.Args().First())
			}, listLeases),
		},
		networkRulesCommand(), networkProxyCommand(), networkExplainCommand(), networkConsoleCommand(), networkRmCommand(),
	}}
}

func published(r api.NetworkRow) string {
	out := make([]string, len(r.Publish))
	for i, p := range r.Publish {
		out[i] = fmt.Sprintf("%d/%s->%s", p.Port, orTCP(p.Proto), p.Service)
	}
	return strings.Join(out, ",")
}

func showNetwork(c *cli.Context, r api.NetworkRow) error {
	if structured(c) {
		return document(c, r)
	}
	return pairs(envOf(c), [][2]string{
		{"Name", r.Name}, {"Wish", r.Wish}, {"Subnet", r.Subnet.String()}, {"Subnet6", r.Subnet6}, {"Gateway", r.Gateway.String()},
		{"Host address", r.HostAddr.String()}, {"NAT", yes(r.NAT)}, {"Leases", fmt.Sprint(r.Leases)}, {"Free", fmt.Sprint(r.Free)},
		{"Publish", published(r)}, {"Allow", strings.Join(r.Allow, ", ")}, {"ID", r.ID},
	})
}

func listLeases(c *cli.Context, rows []api.LeaseRow) error {
	return list(c, rows, func(r api.LeaseRow) string { return r.Address.String() }, []column[api.LeaseRow]{
		{title: "NETWORK", get: func(r api.LeaseRow) string { return r.Network }},
		{title: "ADDRESS", get: func(r api.LeaseRow) string { return r.Address.String() }},
		{title: "MAC", get: func(r api.LeaseRow) string { return r.MAC }},
		{title: "JAIL", get: func(r api.LeaseRow) string { return r.Jail }},
		{title: "HOSTNAME", get: func(r api.LeaseRow) string { return r.Hostname }},
		{title: "EXPIRES", get: func(r api.LeaseRow) string {
			switch {
			case r.Resting:
				return "resting"
			case r.Expires == nil:
				return "with the jail"
			}
			return clock(*r.Expires)
		}},
	})
}
