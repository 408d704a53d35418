package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func tokenCommand() *cli.Command {
	return &cli.Command{Name: "token", Usage: "tokens by which hosts join: create, ls, revoke", Subcommands: []*cli.Command{
		{
			Name: "create", Usage: "make a token; it is shown once",
			Description: "The token says which cluster it is for, so that a host needs nothing else to join: rexcarcer join ADDR -token TOKEN",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "role", Required: true, Usage: "server (may vote and lead) or host (runs jails)"},
				&cli.StringFlag{Name: "ttl", Value: "1h", Usage: "how long it is good"},
				&cli.IntFlag{Name: "uses", Value: 1, Usage: "how many hosts may join by it; 0 is any number"},
			},
			Action: createToken,
		},
		{
			Name: "ls", Usage: "list tokens, without their secrets",
			Action: asking(0, 0, func(c *cli.Context, a *api.Client) ([]api.TokenRow, error) { return a.Tokens(c.Context) }, listTokens),
		},
		{
			Name: "revoke", Usage: "end a token; hosts that joined by it stay", ArgsUsage: "ID",
			Flags: []cli.Flag{&cli.BoolFlag{Name: "yes", Usage: "do not ask"}}, Action: revokeToken,
		},
	}}
}

func createToken(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	uses := c.Int("uses")
	made, err := client.CreateToken(c.Context, api.TokenRequest{Role: c.String("role"), TTL: c.String("ttl"), Uses: &uses})
	if err != nil {
		return err
	}
	if structured(c) {
		return document(c, made)
	}
	e := envOf(c)
	if !c.Bool("quiet") {
		if _, err := fmt.Fprintf(e.stderr, "role %s, until %s; on the new host: rexcarcer join ADDR -token TOKEN\n", made.Role, clock(made.Expires)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(e.stdout, made.Token)
	return err
}

func listTokens(c *cli.Context, rows []api.TokenRow) error {
	return list(c, rows, func(r api.TokenRow) string { return r.ID }, []column[api.TokenRow]{
		{title: "ID", get: func(r api.TokenRow) string { return r.ID }},
		{title: "ROLE", get: func(r api.TokenRow) string { return r.Role }},
		{title: "STATE", get: func(r api.TokenRow) string { return r.State }, mood: func(r api.TokenRow) mood {
			if r.State == "usable" {
				return good
			}
			return plain
		}},
		{title: "USED", get: func(r api.TokenRow) string {
			if r.Uses == 0 {
				return fmt.Sprint(len(r.Hosts))
			}
			return fmt.Sprintf("%d/%d", len(r.Hosts), r.Uses)
		}},
		{title: "EXPIRES", get: func(r api.TokenRow) string { return clock(r.Expires) }},
		{title: "HOSTS", wide: true, get: func(r api.TokenRow) string { return strings.Join(r.Hosts, ",") }},
		{title: "BY", wide: true, get: func(r api.TokenRow) string { return r.CreatedBy }},
	})
}

func revokeToken(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	if err := confirm(c, "Revoke token "+safe(c.Args().First())+"?"); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	done, err := client.RevokeToken(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	return told(c, done)
}
