package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/rexcarcer/rexcarcer/api"
)

func caCommand() *cli.Command {
	secret := []cli.Flag{&cli.StringFlag{Name: "passphrase-file", Usage: "`FILE` whose first line is the passphrase, - for standard input; default: it is asked for"}}
	return &cli.Command{Name: "ca", Usage: "the cluster's CA: show, rotate, csr, import, retire, revoke, revoked, seal, unseal, unlock", Subcommands: []*cli.Command{
		{
			Name: "show", Usage: "the CAs that are trusted, and whether this host can sign",
			Action: asking(0, 0, func(c *cli.Context, a *api.Client) (api.CAView, error) { return a.CAs(c.Context) }, showCA),
		},
		{
			Name: "rotate", Usage: "make another CA; the old one stays trusted for a while",
			Description: "The new CA signs once every server has its key. Certificates follow by themselves; those of hosts that are off stay good until the old CA retires.",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "retire-after", Value: "720h", Usage: "how long the old CA stays trusted"},
				&cli.BoolFlag{Name: "hold", Usage: "it signs only once it is under your own CA: see ca csr, ca import"},
				yesFlag(),
			},
			Action: rotateCA,
		},
		{
			Name: "csr", Usage: "print a request for the CA's certificate, for your own CA to sign", ArgsUsage: "[ID]",
			Action: asking(0, 1, func(c *cli.Context, a *api.Client) (string, error) { return a.RequestCA(c.Context, c.Args().First()) }, func(c *cli.Context, text string) error {
				_, err := fmt.Fprint(envOf(c).stdout, text)
				return err
			}),
		},
		{
			Name: "import", Usage: "put the cluster's CA under your own", ArgsUsage: "CHAIN.PEM",
			Description: "The file has the certificate that your CA made of `rexctl ca csr`, then what is between it and your root.",
			Action:      importCA,
		},
		{Name: "retire", Usage: "trust a CA that does not sign no longer", ArgsUsage: "ID", Flags: []cli.Flag{yesFlag()}, Action: retireCA},
		{
			Name: "revoke", Usage: "have a certificate refused by every daemon", ArgsUsage: "SERIAL|jail/NAME|host/NAME|user/NAME",
			Flags: []cli.Flag{&cli.StringFlag{Name: "why", Usage: "for those who read the events"}, yesFlag()}, Action: revokeCert,
		},
		{
			Name: "revoked", Usage: "list what is refused",
			Action: asking(0, 0, func(c *cli.Context, a *api.Client) ([]api.RevokedRow, error) { return a.Revoked(c.Context) }, listRevoked),
		},
		{Name: "seal", Usage: "encrypt the CA's keys on this server's disk under a passphrase", Flags: secret, Action: sealCA},
		{Name: "unseal", Usage: "write the CA's keys on this server's disk in the clear", Flags: []cli.Flag{yesFlag()}, Action: unsealCA},
		{Name: "unlock", Usage: "tell this server the passphrase after a restart", Flags: secret, Action: unlockCA},
	}}
}

func showCA(c *cli.Context, v api.CAView) error {
	if structured(c) {
		return document(c, v)
	}
	if err := list(c, v.CAs, func(r api.CARow) string { return r.ID }, []column[api.CARow]{
		{title: "ID", get: func(r api.CARow) string { return r.ID }},
		{title: "STATE", get: func(r api.CARow) string { return r.State }},
		{title: "UNTIL", get: func(r api.CARow) string {
			if r.RetireAt != nil {
				return clock(*r.RetireAt)
			}
			return clock(r.NotAfter)
		}},
		{title: "UNDER", get: func(r api.CARow) string { return r.Under }},
		{title: "WAITS FOR", get: func(r api.CARow) string { return strings.Join(r.Waits, ", ") }},
		{title: "HELD BY", wide: true, get: func(r api.CARow) string { return strings.Join(r.HeldBy, ",") }},
		{title: "SUBJECT", wide: true, get: func(r api.CARow) string { return r.Subject }},
	}); err != nil {
		return err
	}
	if v.Locked {
		envOf(c).note("the keys on host %s are locked: it cannot sign until `rexctl ca unlock`", safe(v.Host))
	}
	return nil
}

// changing connects and tells what became of it.
func changing(c *cli.Context, do func(*api.Client) (api.Applied, error)) error {
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	done, err := do(client)
	if err != nil {
		return err
	}
	return told(c, done)
}

func rotateCA(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	if err := confirm(c, "Make another CA? What is signed by the old one is good for "+c.String("retire-after")+" more."); err != nil {
		return err
	}
	return changing(c, func(a *api.Client) (api.Applied, error) {
		return a.RotateCA(c.Context, api.CARotation{RetireAfter: c.String("retire-after"), Hold: c.Bool("hold")})
	})
}

func importCA(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	text, err := readSource(envOf(c), c.Args().First())
	if err != nil {
		return err
	}
	return changing(c, func(a *api.Client) (api.Applied, error) { return a.ImportCA(c.Context, string(text.text)) })
}

func retireCA(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	id := c.Args().First()
	if err := confirm(c, "Retire CA "+safe(id)+"? Hosts that were off since before it was replaced must join anew."); err != nil {
		return err
	}
	return changing(c, func(a *api.Client) (api.Applied, error) { return a.RetireCA(c.Context, id) })
}

func revokeCert(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	what := c.Args().First()
	in := api.Revocation{Why: c.String("why")}
	kind, name, named := strings.Cut(what, "/")
	switch {
	case !named:
		in.Serial = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(what, "0x"), ":", ""))
	case kind == "jail":
		in.Jail = name
	case kind == "host":
		in.Host = name
	case kind == "user":
		in.User = name
	default:
		return usagef("%s: want a serial, jail/NAME, host/NAME or user/NAME", what)
	}
	if err := confirm(c, "Have the certificate of "+safe(what)+" refused for good?"); err != nil {
		return err
	}
	return changing(c, func(a *api.Client) (api.Applied, error) { return a.Revoke(c.Context, in) })
}

func listRevoked(c *cli.Context, rows []api.RevokedRow) error {
	name := func(r api.RevokedRow) string { return r.Serial + r.Subject }
	return list(c, rows, name, []column[api.RevokedRow]{
		{title: "WHAT", get: name},
		{title: "SINCE", get: func(r api.RevokedRow) string { return clock(r.At) }},
		{title: "UNTIL", get: func(r api.RevokedRow) string { return clock(r.Until) }},
		{title: "WHY", get: func(r api.RevokedRow) string { return r.Why }},
		{title: "BY", wide: true, get: func(r api.RevokedRow) string { return r.By }},
	})
}

func sealCA(c *cli.Context) error {
	text, err := passphrase(c, true)
	if err != nil {
		return err
	}
	return sealing(c, "the CA's keys on host %s are sealed; it asks for the passphrase at each start, unless -ca-passphrase-file has it", func(a *api.Client) (api.CAView, error) {
		return a.SealCA(c.Context, text)
	})
}

func unsealCA(c *cli.Context) error {
	if err := confirm(c, "Write the CA's keys in the clear?"); err != nil {
		return err
	}
	return sealing(c, "the CA's keys on host %s are in the clear", func(a *api.Client) (api.CAView, error) { return a.SealCA(c.Context, "") })
}

func unlockCA(c *cli.Context) error {
	text, err := passphrase(c, false)
	if err != nil {
		return err
	}
	return sealing(c, "host %s can sign", func(a *api.Client) (api.CAView, error) { return a.UnlockCA(c.Context, text) })
}

func sealing(c *cli.Context, done string, do func(*api.Client) (api.CAView, error)) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	v, err := do(client)
	if err != nil {
		return err
	}
	if structured(c) {
		return document(c, v)
	}
	_, err = fmt.Fprintf(envOf(c).stdout, done+"\n", safe(v.Host))
	return err
}

// passphrase is read from a file, standard input or the terminal, there twice
// if it is new.
func passphrase(c *cli.Context, twice bool) (string, error) {
	e := envOf(c)
	switch path := c.String("passphrase-file"); {
	case path == "-":
		return firstLine(e.stdin)
	case path != "":
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		return firstLine(f)
	case !e.inTTY || !e.errTTY:
		return "", usagef("there is no terminal to ask for the passphrase on: add --passphrase-file FILE")
	}
	ask := func(what string) (string, error) {
		_, _ = fmt.Fprint(e.stderr, what+": ")
		text, err := term.ReadPassword(int(os.Stdin.Fd()))
		_, _ = fmt.Fprintln(e.stderr)
		return string(text), err
	}
	text, err := ask("Passphrase")
	if err != nil || !twice {
		return text, err
	}
	again, err := ask("Once more")
	if err == nil && again != text {
		err = errors.New("these were two passphrases: nothing was changed")
	}
	return text, err
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the passphrase: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("the passphrase is empty")
	}
	return line, nil
}

func gossipCommand() *cli.Command {
	return &cli.Command{Name: "gossip", Usage: "how hosts see who is alive: rotate", Subcommands: []*cli.Command{{
		Name: "rotate", Usage: "encrypt gossip under another key", Flags: []cli.Flag{yesFlag()},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			return changing(c, func(a *api.Client) (api.Applied, error) { return a.RotateGossip(c.Context) })
		},
	}}}
}
