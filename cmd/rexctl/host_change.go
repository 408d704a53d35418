package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func hostChanges() []*cli.Command {
	return []*cli.Command{
		drainCommand(),
		{Name: "undrain", Usage: "let a host have jails again", ArgsUsage: "HOST", Action: undrain},
		{
			Name: "label", Usage: "set labels of a host, or remove them", ArgsUsage: "HOST KEY[=VALUE]|KEY- ...",
			Description: "KEY- removes the label KEY. A label that the host was started with comes back with its next start.", Action: labelHost,
		},
		{
			Name: "rekey", Usage: "let a host make itself a new key for the overlay", ArgsUsage: "HOST",
			Description: "The others know the new key some seconds before it is used, so connections between jails go on.",
			Action: func(c *cli.Context) error {
				return changeHost(c, 1, 1, func(a *api.Client, name string) (api.Applied, error) { return a.RekeyHost(c.Context, name) })
			},
		},
		{
			Name: "rm", Usage: "take a host out of the cluster for good", ArgsUsage: "HOST",
			Description: "Its id and certificate are refused from then on: to come back it must be wiped and join as a new host.",
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "force", Usage: "also while it is alive or has jails: they start elsewhere"},
				&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			},
			Action: removeHost,
		},
	}
}

func undrain(c *cli.Context) error {
	return changeHost(c, 1, 1, func(a *api.Client, name string) (api.Applied, error) { return a.DrainHost(c.Context, name, true) })
}

func labelHost(c *cli.Context) error {
	in := api.HostLabels{Set: map[string]string{}}
	for _, arg := range c.Args().Tail() {
		key, value, set := strings.Cut(arg, "=")
		if old, remove := strings.CutSuffix(arg, "-"); remove && !set {
			in.Remove = append(in.Remove, old)
			continue
		}
		in.Set[key] = value
	}
	return changeHost(c, 2, -1, func(a *api.Client, name string) (api.Applied, error) { return a.LabelHost(c.Context, name, in) })
}

func removeHost(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	if err := confirm(c, fmt.Sprintf("Take host %s out of the cluster for good?", safe(c.Args().First()))); err != nil {
		return err
	}
	return changeHost(c, 1, 1, func(a *api.Client, name string) (api.Applied, error) {
		return a.RemoveHost(c.Context, name, c.Bool("force"))
	})
}

// changeHost does one thing to the host that is named first, and shows it.
func changeHost(c *cli.Context, least, most int, do func(*api.Client, string) (api.Applied, error)) error {
	if err := wantArgs(c, least, most); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	done, err := do(client, c.Args().First())
	if err != nil {
		return err
	}
	return told(c, done)
}

// told says what a change came to.
func told(c *cli.Context, done api.Applied) error {
	if structured(c) {
		return document(c, done)
	}
	e := envOf(c)
	if len(done.Events) == 0 {
		_, err := fmt.Fprintln(e.stdout, "nothing to do: it is so already")
		return err
	}
	for _, ev := range done.Events {
		line := strings.ReplaceAll(ev.Kind, "_", " ") + ": " + ev.Object
		if ev.Why != "" {
			line += " (" + ev.Why + ")"
		}
		if _, err := fmt.Fprintln(e.stdout, clean(line)); err != nil {
			return err
		}
	}
	return nil
}
