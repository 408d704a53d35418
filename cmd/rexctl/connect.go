package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

// connect makes the client for the cluster that flags, environment and
// contexts name, in this order.
func connect(c *cli.Context) (*api.Client, error) { return connectAt(c, c.String("at")) }

// connectAt makes a client that looks back to a moment; "" is now.
func connectAt(c *cli.Context, at string) (*api.Client, error) {
	e := envOf(c)
	o, err := chosenContext(c, e)
	if err != nil {
		return nil, err
	}
	if c.String("context") == "" { // an explicit choice beats the environment
		o = api.OptionsFromEnv(o, e.getenv)
	}
	if a := daemonAddr(c); a != "" {
		o.Addr = a
	}
	if o.At, err = moment(at, time.Now()); err != nil {
		return nil, err
	}
	client, err := api.NewClient(o)
	if err != nil {
		return nil, usagef("%v", err)
	}
	client.OnStale = func(s api.Stale) {
		since := "ever since it started"
		if s.Since > 0 {
			since = "since " + s.Since.Round(time.Second).String()
		}
		e.note("answered by %s without a leader %s, as of index %d", cmp.Or(safe(s.Host), client.Addr()), since, s.Index)
	}
	return client, nil
}

// daemonAddr is the daemon's --addr. Of run, --addr is the jail's address as
// well: only a daemon's has :// in it.
func daemonAddr(c *cli.Context) string {
	if c.Command.Name != "run" {
		return c.String("addr")
	}
	for _, a := range c.StringSlice("addr") {
		if strings.Contains(a, "://") {
			return a
		}
	}
	return ""
}

// jailAddr is what run's --addr says of the jail's address.
func jailAddr(c *cli.Context) string {
	out := "dhcp"
	for _, a := range c.StringSlice("addr") {
		if !strings.Contains(a, "://") {
			out = a
		}
	}
	return out
}

// contexts is the file of known clusters.
type contexts struct {
	Current  string                 `json:"current,omitempty"`
	Contexts map[string]api.Options `json:"contexts"`
}

func chosenContext(c *cli.Context, e *env) (api.Options, error) {
	name := c.String("context")
	if name == "" {
		name = e.getenv("REX_CONTEXT")
	}
	known, err := readContexts(e)
	if err != nil {
		return api.Options{}, err
	}
	if name == "" {
		name = known.Current
	}
	if name == "" {
		return api.Options{}, nil
	}
	o, ok := known.Contexts[name]
	if !ok {
		return o, usagef("no context %q\n  try: rexctl context ls", name)
	}
	return o, nil
}

func contextsFile(e *env) string {
	dir := e.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := e.getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "rexctl", "contexts.json")
}

func readContexts(e *env) (contexts, error) {
	out := contexts{Contexts: map[string]api.Options{}}
	path := contextsFile(e)
	if path == "" {
		return out, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("read contexts: %w", err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("read contexts from %s: %w", path, err)
	}
	if out.Contexts == nil {
		out.Contexts = map[string]api.Options{}
	}
	return out, nil
}

func writeContexts(e *env, known contexts) error {
	path := contextsFile(e)
	if path == "" {
		return errors.New("write contexts: neither HOME nor XDG_CONFIG_HOME is set")
	}
	b, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write contexts: %w", err)
	}
	if err := renameio.WriteFile(path, append(b, '\n'), 0o600); err != nil { // may hold a token
		return fmt.Errorf("write contexts: %w", err)
	}
	return nil
}

func contextCommand() *cli.Command {
	return &cli.Command{Name: "context", Usage: "several clusters: ls, use, set, rm", Subcommands: []*cli.Command{
		{Name: "ls", Usage: "list known clusters", Action: contextLs},
		{Name: "use", Usage: "make a cluster the one that is meant", ArgsUsage: "NAME", Action: contextUse},
		{Name: "set", Usage: "add or change a cluster", ArgsUsage: "NAME", Action: contextSet, Flags: []cli.Flag{
			&cli.StringFlag{Name: "cacert", Usage: "`FILE` with the cluster's CA"},
			&cli.StringFlag{Name: "client-cert", Usage: "`FILE`"},
			&cli.StringFlag{Name: "client-key", Usage: "`FILE`"},
		}},
		{Name: "rm", Usage: "forget a cluster", ArgsUsage: "NAME", Action: contextRm},
	}}
}

type contextRow struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	api.Options
}

func contextLs(c *cli.Context) error {
	known, err := readContexts(envOf(c))
	if err != nil {
		return err
	}
	rows := []contextRow{}
	for name, o := range known.Contexts {
		o.Token = "" // never shown
		rows = append(rows, contextRow{name, name == known.Current, o})
	}
	slices.SortFunc(rows, func(a, b contextRow) int { return compare(a.Name, b.Name) })
	return list(c, rows, func(r contextRow) string { return r.Name }, []column[contextRow]{
		{title: "NAME", get: func(r contextRow) string { return r.Name }},
		{title: "CURRENT", get: func(r contextRow) string { return yes(r.Current) }},
		{title: "ADDR", get: func(r contextRow) string { return r.Addr }},
	})
}

func contextUse(c *cli.Context) error {
	return changeContexts(c, func(k *contexts, name string) { k.Current = name })
}

func contextRm(c *cli.Context) error {
	return changeContexts(c, func(k *contexts, name string) {
		delete(k.Contexts, name)
		if k.Current == name {
			k.Current = ""
		}
	})
}

func changeContexts(c *cli.Context, change func(*contexts, string)) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	known, err := readContexts(envOf(c))
	if err != nil {
		return err
	}
	name := c.Args().First()
	if _, ok := known.Contexts[name]; !ok {
		return fmt.Errorf("no context %q\n  try: rexctl context ls", name)
	}
	change(&known, name)
	return writeContexts(envOf(c), known)
}

func contextSet(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	if c.String("addr") == "" {
		return usagef("context set wants --addr")
	}
	o := api.Options{Addr: c.String("addr"), CACert: c.String("cacert"), ClientCert: c.String("client-cert"), ClientKey: c.String("client-key")}
	if _, err := api.NewClient(o); err != nil {
		return usagef("%v", err)
	}
	known, err := readContexts(envOf(c))
	if err != nil {
		return err
	}
	known.Contexts[c.Args().First()] = o
	if known.Current == "" {
		known.Current = c.Args().First()
	}
	return writeContexts(envOf(c), known)
}
