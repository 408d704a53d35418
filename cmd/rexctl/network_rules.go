package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func networkRulesCommand() *cli.Command {
	return &cli.Command{
		Name: "rules", Usage: "who may send what to whom in a network, in words, as it is in force on the host", ArgsUsage: "NETWORK",
		Description: "Lines are in the order in which a packet meets them: the bridge, the router, the host..",
		Flags:       []cli.Flag{hostFlag("the `HOST` whose rules they are; default is the one that is asked")},
		Action: aboutNetwork(func(ctx context.Context, a *api.Client, name string) ([]api.NetworkRule, error) {
			return a.NetworkRules(ctx, name)
		},
			func(r api.NetworkRule) string { return r.Why }, []column[api.NetworkRule]{
				{title: "WHERE", get: func(r api.NetworkRule) string { return r.Where }},
				{title: "FROM", get: func(r api.NetworkRule) string { return r.From }},
				{title: "TO", get: func(r api.NetworkRule) string { return r.To }},
				{title: "WHAT", get: func(r api.NetworkRule) string { return r.What }},
				{title: "THEN", get: func(r api.NetworkRule) string { return r.Then }},
				{title: "WHY", get: func(r api.NetworkRule) string { return r.Why }},
			}),
	}
}

func networkProxyCommand() *cli.Command {
	number := func(title string, get func(api.ProxyMember) uint64) column[api.ProxyMember] {
		return column[api.ProxyMember]{title: title, get: func(r api.ProxyMember) string { return fmt.Sprint(get(r)) }}
	}
	return &cli.Command{
		Name: "proxy", Usage: "what the proxy of ports with mode = \"http\" counts, for each member", ArgsUsage: "NETWORK",
		Flags: []cli.Flag{hostFlag("the `HOST` whose proxy it is; default is the one that is asked")},
		Action: aboutNetwork(func(ctx context.Context, a *api.Client, name string) ([]api.ProxyMember, error) {
			return a.ProxyMembers(ctx, name)
		},
			func(r api.ProxyMember) string { return r.Member }, []column[api.ProxyMember]{
				number("PORT", func(r api.ProxyMember) uint64 { return uint64(r.Port) }),
				{title: "MEMBER", get: func(r api.ProxyMember) string { return r.Member }},
				{title: "STATE", get: func(r api.ProxyMember) string { return r.State }},
				number("SESSIONS", func(r api.ProxyMember) uint64 { return r.Sessions }),
				number("REQUESTS", func(r api.ProxyMember) uint64 { return r.Requests }),
				number("2XX", func(r api.ProxyMember) uint64 { return r.Good }),
				number("4XX", func(r api.ProxyMember) uint64 { return r.Wrong }),
				number("5XX", func(r api.ProxyMember) uint64 { return r.Failed }),
				number("IN", func(r api.ProxyMember) uint64 { return r.BytesIn }),
				number("OUT", func(r api.ProxyMember) uint64 { return r.BytesOut }),
			}),
	}
}

// aboutNetwork lists what one host says of a network.
func aboutNetwork[T any](ask func(context.Context, *api.Client, string) ([]T, error), name func(T) string, columns []column[T]) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := wantArgs(c, 1, 1); err != nil {
			return err
		}
		client, err := connect(c)
		if err != nil {
			return err
		}
		defer client.Close()
		rows, err := ask(c.Context, client.On(c.String("host")), c.Args().First())
		if err != nil {
			return err
		}
		return list(c, rows, name, columns)
	}
}
