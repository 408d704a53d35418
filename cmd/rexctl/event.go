package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"

	"github.com/rexcarcer/rexcarcer/api"
)

func eventsCommand() *cli.Command {
	return &cli.Command{Name: "events", Usage: "what happened in the cluster", ArgsUsage: "[OBJECT]", Action: events, Flags: []cli.Flag{
		&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on as things happen"},
		&cli.Uint64Flag{Name: "since", Usage: "only what came after this `INDEX` of the log"},
		&cli.StringFlag{Name: "kind", Usage: "only this `KIND`, as jail_placed"},
		&cli.BoolFlag{Name: "data", Usage: "with all that the event holds (-o json)"},
	}}
}

func events(c *cli.Context) error {
	if err := wantArgs(c, 0, 1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	f := api.EventFilter{Since: c.Uint64("since"), Follow: c.Bool("follow"), Kind: c.String("kind"), Data: c.Bool("data")}
	if c.NArg() == 1 {
		f.Object = object(c.Args().First())
	}
	e := envOf(c)
	if !structured(c) && !c.Bool("quiet") && !c.Bool("no-header") && c.String("output") != "name" {
		_, _ = fmt.Fprintln(e.stdout, eventLine("INDEX", "TIME", "KIND", "OBJECT", "BY", "WHY"))
	}
	err = client.Events(c.Context, f, func(ev api.Event) error {
		keep, err := filtered([]api.Event{ev}, c.StringSlice("filter"))
		if err != nil || len(keep) == 0 {
			return err
		}
		return printEvent(c, ev)
	})
	return ignoreCancel(c.Context, err)
}

// printEvent prints one line, or one document of a stream.
func printEvent(c *cli.Context, ev api.Event) error {
	e := envOf(c)
	switch format := c.String("output"); {
	case format == "json":
		b, err := json.Marshal(ev)
		if err != nil {
			return err
		}
		_, err = e.stdout.Write(append(b, '\n'))
		return err
	case format == "yaml":
		b, err := yaml.Marshal(ev)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "---\n%s", b)
		return err
	case format == "name" || c.Bool("quiet"):
		_, err := fmt.Fprintln(e.stdout, clean(ev.Object))
		return err
	}
	_, err := fmt.Fprintln(e.stdout, eventLine(fmt.Sprint(ev.Index), clock(ev.Time), ev.Kind, ev.Object, ev.By, ev.Why))
	return err
}

// eventLine has fixed widths: a stream cannot be aligned afterwards.
func eventLine(index, at, kind, object, by, why string) string {
	return strings.TrimRight(clean(fmt.Sprintf("%-7s %-20s  %-16s  %-36s  %-12s  %s", index, at, kind, object, by, why)), " ")
}

func historyCommand() *cli.Command {
	return &cli.Command{Name: "history", Usage: "what happened to an object", ArgsUsage: "[OBJECT]", Flags: []cli.Flag{
		&cli.IntFlag{Name: "limit", Value: 1000, Usage: "newest so many, at most 10000"},
	}, Action: asking(0, 1, func(c *cli.Context, a *api.Client) ([]api.Event, error) {
		name := ""
		if c.NArg() == 1 {
			name = object(c.Args().First())
		}
		rows, err := a.History(c.Context, name, c.Int("limit"))
		if err == nil && len(rows) == 0 && name != "" {
			err = &api.Error{Code: "not_found", Object: name, Message: "nothing is known of it", Hint: "rexctl history lists all"}
		}
		return rows, err
	}, func(c *cli.Context, rows []api.Event) error {
		return list(c, rows, func(r api.Event) string { return r.Object }, []column[api.Event]{
			{title: "INDEX", get: func(r api.Event) string { return fmt.Sprint(r.Index) }},
			{title: "TIME", get: func(r api.Event) string { return clock(r.Time) }},
			{title: "KIND", get: func(r api.Event) string { return r.Kind }},
			{title: "OBJECT", get: func(r api.Event) string { return r.Object }},
			{title: "BY", get: func(r api.Event) string { return r.By }},
			{title: "WHY", get: func(r api.Event) string { return r.Why }},
		})
	})}
}

// object reads what users write, "web-1", "jail/web-1" or "jail web-1", as
// the API has it.
func object(arg string) string {
	if kind, name, ok := strings.Cut(arg, "/"); ok {
		return kind + " " + name
	}
	if strings.Contains(arg, " ") {
		return arg
	}
	return "jail " + arg
}

func whyCommand() *cli.Command {
	return &cli.Command{Name: "why", Usage: "why a jail or host is as it is", ArgsUsage: "OBJECT", Action: asking(1, 1, func(c *cli.Context, a *api.Client) (api.Why, error) {
		name := object(c.Args().First())
		if short, ok := strings.CutPrefix(name, "jail "); ok {
			rows, err := a.Jails(c.Context, api.JailFilter{})
			if err != nil {
				return api.Why{}, err
			}
			found, err := targets(rows, []string{short})
			if err != nil {
				return api.Why{}, err
			}
			name = "jail " + found[0]
		}
		return a.Why(c.Context, name)
	}, func(c *cli.Context, w api.Why) error {
		if structured(c) {
			return document(c, w)
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s: %s\n", w.Object, w.Summary)
		for _, r := range w.Reasons {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(r, "\n", "\n    "))
		}
		_, err := io.WriteString(envOf(c).stdout, cleanLines(b.String()))
		return err
	})}
}

func apiCommand() *cli.Command {
	return &cli.Command{Name: "api", Usage: "send a request as it is", ArgsUsage: "METHOD PATH", Action: apiAction, Flags: []cli.Flag{
		&cli.StringFlag{Name: "data", Aliases: []string{"d"}, Usage: "body, @FILE, or - for standard input"},
		&cli.StringSliceFlag{Name: "header", Aliases: []string{"H"}, Usage: "`NAME: VALUE`, repeatable"},
	}}
}

func apiAction(c *cli.Context) error {
	if err := wantArgs(c, 1, 2); err != nil {
		return err
	}
	method, path := "GET", c.Args().Get(0)
	if c.NArg() == 2 {
		method, path = strings.ToUpper(c.Args().Get(0)), c.Args().Get(1)
	}
	if !strings.HasPrefix(path, "/") {
		return usagef("path %s: want it to begin with /\n  try: rexctl api GET /v1/status", safe(path))
	}
	e := envOf(c)
	body, err := apiBody(e, c.String("data"))
	if err != nil {
		return err
	}
	header := http.Header{}
	for _, h := range c.StringSlice("header") {
		k, v, ok := strings.Cut(h, ":")
		if !ok {
			return usagef("-H %s: want NAME: VALUE", safe(h))
		}
		header.Add(strings.TrimSpace(k), strings.TrimSpace(v))
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	res, err := client.Do(c.Context, method, path, body, header)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(e.stdout, res.Body)
	return ignoreCancel(c.Context, err)
}

func apiBody(e *env, data string) (io.Reader, error) {
	switch {
	case data == "":
		return nil, nil
	case data == "-":
		return e.stdin, nil
	case data[0] == '@':
		b, err := os.ReadFile(data[1:])
		if err != nil {
			return nil, fileError(data[1:], err)
		}
		return strings.NewReader(string(b)), nil
	case !json.Valid([]byte(data)):
		return nil, errors.New("-d: the body is no JSON\n  try: -d @FILE")
	}
	return strings.NewReader(data), nil
}
