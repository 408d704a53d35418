package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

// looksBack are the commands that can show the cluster as it was.
var looksBack = map[string]bool{
	"rexctl ps": true, "rexctl jail ls": true, "rexctl jail show": true, "rexctl network ls": true, "rexctl network show": true,
	"rexctl network leases": true, "rexctl dns ls": true, "rexctl service ls": true, "rexctl image ls": true, "rexctl image show": true,
	"rexctl base ls": true, "rexctl cert ls": true, "rexctl cert show": true, "rexctl host ls": true, "rexctl host show": true,
	"rexctl token ls": true, "rexctl show": true,
}

func atFlag() cli.Flag {
	return &cli.StringFlag{Name: "at", Usage: "as it was at this `INDEX` of the log, at a time (2026-01-31T15:04:05Z), or that long ago (10m)"}
}

// moment is what the user means with an index, a time, or a while ago.
func moment(text string, now time.Time) (string, error) {
	if _, err := strconv.ParseUint(text, 10, 64); err == nil || text == "" {
		return text, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UTC().Format(time.RFC3339Nano), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t.UTC().Format(time.RFC3339Nano), nil
		}
	}
	return "", usagef("%q is no index of the log, no time as 2026-01-31T15:04:05Z, and no while as 10m", text)
}

func showCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "an object, now or as it was", ArgsUsage: "OBJECT",
		Description: "OBJECT is a jail's name, or KIND/NAME with the kinds jail, network, image, host, cert and wish.",
		Action:      show,
	}
}

func show(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	kind, name, _ := strings.Cut(object(c.Args().First()), " ")
	if kind == "wish" {
		return asking(1, 1, func(c *cli.Context, a *api.Client) (json.RawMessage, error) { return a.RawWish(c.Context, name) }, showWish)(c)
	}
	for _, noun := range commands() {
		for _, sub := range noun.Subcommands {
			if noun.Name != kind || sub.Name != "show" || !looksBack["rexctl "+kind+" show"] {
				continue
			}
			args := flag.NewFlagSet("show", flag.ContinueOnError)
			if err := args.Parse([]string{"--", name}); err != nil {
				return fmt.Errorf("show %s %s: %w", kind, name, err)
			}
			below := cli.NewContext(c.App, args, c)
			below.Command = c.Command
			return sub.Action(below)
		}
	}
	return usagef("there is no kind %q: jail, network, image, host, cert or wish", kind)
}

// showWish prints a wish as a document: it has no shorter form.
func showWish(c *cli.Context, w json.RawMessage) error {
	if !structured(c) {
		if err := c.Set("output", "yaml"); err != nil {
			return fmt.Errorf("show the wish: %w", err)
		}
	}
	return document(c, w)
}

func diffCommand() *cli.Command {
	return &cli.Command{Name: "diff", Usage: "what is not the same at two times", ArgsUsage: "[KIND]", Flags: []cli.Flag{
		&cli.StringFlag{Name: "from", Usage: "`INDEX` of the log, time, or while ago, as 120, 2026-01-31T15:04:05Z, 10m"},
		&cli.StringFlag{Name: "to", Usage: "the same; default now"},
	}, Action: asking(0, 1, func(c *cli.Context, a *api.Client) ([]api.ChangeRow, error) {
		if c.String("from") == "" {
			return nil, usagef("from when? as in: rexctl diff --from 10m")
		}
		from, err := moment(c.String("from"), time.Now())
		if err != nil {
			return nil, err
		}
		to, err := moment(c.String("to"), time.Now())
		if err != nil {
			return nil, err
		}
		return a.Diff(c.Context, from, to, c.Args().First())
	}, showDiff)}
}

func showDiff(c *cli.Context, rows []api.ChangeRow) error {
	if len(rows) == 0 && !structured(c) {
		return said(c, nil, "No difference.")
	}
	return list(c, rows, func(r api.ChangeRow) string { return r.Kind + "/" + r.Name }, []column[api.ChangeRow]{
		{title: "ACTION", get: func(r api.ChangeRow) string { return r.Action }},
		{title: "KIND", get: func(r api.ChangeRow) string { return r.Kind }},
		{title: "NAME", get: func(r api.ChangeRow) string { return r.Name }},
		{title: "WHAT", get: func(r api.ChangeRow) string {
			out := make([]string, len(r.Fields))
			for i, f := range r.Fields {
				out[i] = fmt.Sprintf("%s: %s -> %s", f.Path, value(c, f.From), value(c, f.To))
			}
			return strings.Join(out, "; ")
		}},
	})
}

// value is a JSON value in a table: cut where it would fill the screen.
func value(c *cli.Context, b json.RawMessage) string {
	const most = 60
	switch s := []rune(string(b)); {
	case len(s) == 0:
		return "none"
	case len(s) > most && c.String("output") != "wide":
		return string(s[:most]) + "..."
	}
	return string(b)
}

func auditCommand() *cli.Command {
	return &cli.Command{Name: "audit", Usage: "the log: verify", Subcommands: []*cli.Command{{
		Name: "verify", Usage: "apply the log again on every host, and compare",
		Description: "Every host that is alive applies again what its log and archive hold, compares each\n" +
			"archived State and the one that it works with, and all of them end with the same hash\n" +
			"over all entries. Exit 1 names the first difference.",
		Action: auditVerify,
	}}}
}

type auditRow struct {
	api.Audit
	Result string `json:"result"` // equal, or what is wrong
}

func auditVerify(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	own, err := client.Audit(c.Context, "", 0)
	if err != nil {
		return err
	}
	hosts, err := client.Hosts(c.Context)
	if err != nil {
		return err
	}
	rows, wrong := []auditRow{{own, "equal"}}, 0
	for _, h := range hosts {
		if h.Name == own.Host {
			continue
		}
		row := auditRow{api.Audit{Host: h.Name}, "not asked: it is " + h.State}
		if h.State == "alive" {
			row = auditOf(c, client, h.Name, own)
			if row.Result != "equal" {
				wrong++
			}
		}
		rows = append(rows, row)
	}
	err = list(c, rows, func(r auditRow) string { return r.Host }, []column[auditRow]{
		{title: "HOST", get: func(r auditRow) string { return r.Host }},
		{title: "FROM", get: func(r auditRow) string { return fmt.Sprint(r.From) }},
		{title: "TO", get: func(r auditRow) string { return fmt.Sprint(r.To) }},
		{title: "ENTRIES", get: func(r auditRow) string { return fmt.Sprint(r.Entries) }},
		{title: "STATES", get: func(r auditRow) string { return fmt.Sprint(r.States) }},
		{title: "CHAIN", get: func(r auditRow) string { return short(r.Chain) }},
		{title: "RESULT", get: func(r auditRow) string { return r.Result }},
	})
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%d of %d hosts do not agree with their log or with %s", wrong, len(rows), own.Host)
	}
	return err
}

// auditOf asks one more host, up to the same entry.
func auditOf(c *cli.Context, client *api.Client, host string, own api.Audit) auditRow {
	a, err := client.Audit(c.Context, host, own.To)
	switch {
	case err != nil:
		return auditRow{api.Audit{Host: host}, err.Error()}
	case a.Chain != own.Chain:
		return auditRow{a, "differs from " + own.Host}
	}
	return auditRow{a, "equal"}
}

func short(hex string) string { return hex[:min(len(hex), 16)] }
