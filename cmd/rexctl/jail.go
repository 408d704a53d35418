package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

func jailCommand() *cli.Command {
	change := func(name, usage string, verb verb) *cli.Command {
		flags := append(waitFlags("none"), &cli.BoolFlag{Name: "all", Usage: "all jails"})
		if verb.asks != "" {
			flags = append(flags, yesFlag())
		}
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: "JAIL...", Flags: flags, Action: func(c *cli.Context) error { return changeJails(c, verb) }}
	}
	return &cli.Command{Name: "jail", Usage: "jails: ls, show, logs, exec, console, start, stop, restart, move, rm", Subcommands: []*cli.Command{
		jailLsCommand("ls"),
		{Name: "show", Usage: "all about a jail", ArgsUsage: "JAIL...", Action: jailShow},
		jailLogsCommand(), jailExecCommand(), jailConsoleCommand(),
		change("start", "start stopped jails", verb{done: "wanted running", want: fsm.WantRunning}),
		change("stop", "stop jails until they are started again", verb{done: "wanted stopped", want: fsm.WantStopped, asks: "Stop"}),
		change("restart", "replace the runs of jails by new ones", verb{done: "restarts", asks: "Restart"}),
		jailMoveCommand(),
		change("rm", "remove jails; their volumes stay", verb{done: "will be gone once it has stopped", want: fsm.WantGone, asks: "Remove"}),
	}}
}

func jailLsCommand(name string) *cli.Command {
	return &cli.Command{Name: name, Usage: "list jails", ArgsUsage: "[JAIL...]", Action: jailLs, Flags: []cli.Flag{
		&cli.StringFlag{Name: "network", Usage: "only of this `NETWORK`"},
		&cli.StringFlag{Name: "wish", Usage: "only what this `WISH` declared"},
	}}
}

// cell marks what is only simulated.
func cell(word string, simulated bool) string {
	if simulated {
		return word + " (simulated)"
	}
	return word
}

func phaseMood(r api.JailRow) mood {
	switch r.Phase {
	case "running":
		return good
	case "failed", "lost":
		return bad
	case "stopped":
		return plain
	}
	return warning
}

func healthMood(health string) mood {
	switch health {
	case "healthy":
		return good
	case "unhealthy":
		return bad
	}
	return plain
}

func jailLs(c *cli.Context) error {
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	filter := api.JailFilter{Network: c.String("network"), Wish: c.String("wish")}
	if c.NArg() == 0 {
		return listPages(c, client.JailPages(c.Context, filter, screenful), jailName, jailColumns)
	}
	rows, err := client.Jails(c.Context, filter)
	if err != nil {
		return err
	}
	names, err := targets(rows, c.Args().Slice())
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(r api.JailRow) bool { return !slices.Contains(names, r.Name) })
	return list(c, rows, jailName, jailColumns)
}

// screenful is the first page of a list: more than a screen shows, and there at
// once.
const screenful = 500

func jailName(r api.JailRow) string { return r.Name }

var jailColumns = []column[api.JailRow]{
	{title: "NAME", get: func(r api.JailRow) string { return r.Name }},
	{title: "NETWORK", get: func(r api.JailRow) string { return r.Network }},
	{title: "HOST", get: func(r api.JailRow) string { return r.Host }},
	{title: "PHASE", get: func(r api.JailRow) string { return cell(r.Phase, r.Simulated) }, mood: phaseMood},
	{title: "HEALTH", get: func(r api.JailRow) string { return r.Health }, mood: func(r api.JailRow) mood { return healthMood(r.Health) }},
	{title: "ADDRESSES", get: func(r api.JailRow) string { return strings.Join(r.Addresses, ",") }},
	{title: "RESTARTS", get: func(r api.JailRow) string { return fmt.Sprint(r.Restarts) }},
	{title: "IMAGE", get: func(r api.JailRow) string { return r.Image }},
	{title: "UUID", wide: true, get: func(r api.JailRow) string { return r.UUID }},
	{title: "WISH", wide: true, get: func(r api.JailRow) string { return r.Wish }},
	{title: "SINCE", wide: true, get: func(r api.JailRow) string { return clock(r.Since) }},
	{title: "REASON", wide: true, get: func(r api.JailRow) string { return r.Reason }},
}

// targets are the jails that the user means: by name, by an unambiguous
// beginning of it, or by the beginning of the uuid.
func targets(rows []api.JailRow, args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		found := matches(rows, arg)
		switch len(found) {
		case 1:
			if !slices.Contains(out, found[0]) {
				out = append(out, found[0])
			}
		case 0:
			return nil, &api.Error{Code: "not_found", Object: "jail " + safe(arg), Message: "no such jail", Hint: tryJail(rows, arg)}
		default:
			return nil, usagef("jail %s could be %s\n  try: more of the name", safe(arg), strings.Join(found[:min(len(found), 8)], ", "))
		}
	}
	return out, nil
}

func tryJail(rows []api.JailRow, arg string) string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Name
	}
	if near := nearest(arg, names); near != "" {
		return "rexctl jail show " + near
	}
	return "rexctl ps"
}

func matches(rows []api.JailRow, arg string) []string {
	const leastUUID = 4 // characters that count as the beginning of a uuid
	var found []string
	for _, r := range rows {
		if r.Name == arg || r.UUID == arg {
			return []string{r.Name}
		}
		if arg != "" && (strings.HasPrefix(r.Name, arg) || len(arg) >= leastUUID && strings.HasPrefix(r.UUID, arg)) {
			found = append(found, r.Name)
		}
	}
	return found
}

// chosen connects and resolves the arguments.
func chosen(c *cli.Context) (*api.Client, []string, error) {
	client, err := connect(c)
	if err != nil {
		return nil, nil, err
	}
	names, err := meant(c, client, c.Args().Slice(), c.Bool("all"))
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return client, names, nil
}

// one connects and resolves the first argument.
func one(c *cli.Context) (*api.Client, string, error) {
	client, err := connect(c)
	if err != nil {
		return nil, "", err
	}
	names, err := meant(c, client, c.Args().Slice()[:1], false)
	if err != nil {
		client.Close()
		return nil, "", err
	}
	return client, names[0], nil
}

// meant are the jails that args name, or all. Where there are many jails a whole
// name is found without a list of them.
func meant(c *cli.Context, client *api.Client, args []string, every bool) ([]string, error) {
	if !every && len(args) == 1 && args[0] != "" {
		if j, err := client.Jail(c.Context, args[0]); err == nil {
			return []string{j.Name}, nil
		}
	}
	rows, err := client.Jails(c.Context, api.JailFilter{})
	if err != nil {
		return nil, err
	}
	names, err := targets(rows, args)
	for i := 0; every && err == nil && i < len(rows); i++ {
		names = append(names, rows[i].Name)
	}
	return names, err
}

// verb is a change to jails.
type verb struct {
	done string   // what is said of the jail afterwards
	want fsm.Want // "" restarts
	asks string   // the question's first word; "": does not ask
}

func changeJails(c *cli.Context, v verb) error {
	if err := checkWait(c); err != nil {
		return err
	}
	if c.Bool("all") == (c.NArg() > 0) {
		return usagef("name the jails, or say --all\n  try: rexctl ps")
	}
	client, names, err := chosen(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if v.asks != "" {
		if err := confirm(c, fmt.Sprintf("%s %s %s?", v.asks, noun(len(names), "jail"), strings.Join(names, ", "))); err != nil {
			return err
		}
	}
	err = each(names, func(name string) error {
		var err error
		if v.want == "" {
			_, err = client.RestartJail(c.Context, name)
		} else {
			_, err = client.WantJail(c.Context, name, v.want)
		}
		if err != nil {
			return err
		}
		return said(c, nil, "jail %s: %s", name, v.done)
	})
	if err != nil || c.String("wait") == "none" {
		return err
	}
	w := &waiter{c: c, e: envOf(c), client: client, mode: c.String("wait"), timeout: c.Duration("timeout"), only: names}
	if v.want == fsm.WantGone {
		w.gone = map[string]bool{}
		for _, n := range names {
			w.gone[n] = true
		}
	}
	_, err = w.run()
	return err
}
