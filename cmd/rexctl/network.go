package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func networkCommand() *cli.Command {
	return &cli.Command{Name: "network", Usage: "networks: create, ls, show, leases, rm", Subcommands: []*cli.Command{
		networkCreateCommand(),
		{
			Name: "ls", Usage: "list networks",
			Action: asking(0, 0, func(c *cli.Context, a *api.Client) ([]api.NetworkRow, error) { return a.Networks(c.Context) }, listNetworks),
		},
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
		networkRmCommand(),
	}}
}

func listNetworks(c *cli.Context, rows []api.NetworkRow) error {
	return list(c, rows, func(r api.NetworkRow) string { return r.Name }, []column[api.NetworkRow]{
		{title: "NAME", get: func(r api.NetworkRow) string { return r.Name }},
		{title: "SUBNET", get: func(r api.NetworkRow) string { return r.Subnet.String() }},
		{title: "GATEWAY", get: func(r api.NetworkRow) string { return r.Gateway.String() }},
		{title: "NAT", get: func(r api.NetworkRow) string { return yes(r.NAT) }},
		{title: "LEASES", get: func(r api.NetworkRow) string { return fmt.Sprint(r.Leases) }},
		{title: "FREE", get: func(r api.NetworkRow) string { return fmt.Sprint(r.Free) }},
		{title: "PUBLISH", get: published},
		{title: "WISH", get: func(r api.NetworkRow) string { return r.Wish }},
		{title: "SUBNET6", wide: true, get: func(r api.NetworkRow) string { return r.Subnet6 }},
		{title: "ALLOW", wide: true, get: func(r api.NetworkRow) string { return strings.Join(r.Allow, ",") }},
		{title: "ID", wide: true, get: func(r api.NetworkRow) string { return r.ID }},
	})
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
