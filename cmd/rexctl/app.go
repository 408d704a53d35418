package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

const helpEpilogue = `
Exit codes: 0 done or no change, 1 error, 2 plan --exit-code has changes,
3 not all came up in time, 4 conflict, 64 usage. exec and run pass the command's own.
Environment: REX_ADDR, REX_CACERT, REX_CLIENT_CERT, REX_CLIENT_KEY, REX_TOKEN,
REX_CONTEXT, NO_COLOR.
`

func newApp(e *env) *cli.App {
	app := &cli.App{
		Name:                      "rexctl",
		Usage:                     "speak to a RexCarcer cluster",
		UsageText:                 "rexctl COMMAND [flags] [arguments]",
		Version:                   version,
		HideVersion:               true,
		HideHelpCommand:           true,
		Writer:                    e.stdout,
		ErrWriter:                 e.stderr,
		Metadata:                  map[string]any{"env": e},
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // run reports
		OnUsageError:              onUsage,
		Commands:                  commands(),
		Action:                    needCommand,
		CustomAppHelpTemplate:     cli.AppHelpTemplate + helpEpilogue,
	}
	finish(app.Commands, "rexctl")
	return app
}

// commands are all of rexctl's, in the order of the help text.
func commands() []*cli.Command {
	list := []*cli.Command{validateCommand(), fmtCommand(), planCommand(), applyCommand(), destroyCommand(), convertCommand()}
	list = append(list, placementCommands()...)
	list = append(list, statusCommand(), topCommand(), runCommand(), jailLsCommand("ps"), jailLogsCommand(), jailExecCommand(), jailConsoleCommand(), jailCommand())
	list = append(list, networkCommand(), dnsCommand(), serviceCommand(), imageCommand(), baseCommand(), volumeCommand(), moveCommand(), certCommand(), hostCommand(), tokenCommand(), caCommand(), gossipCommand(), snapshotCommand())
	list = append(list, eventsCommand(), historyCommand(), whyCommand(), showCommand(), diffCommand(), revertCommand(), auditCommand(), inventoryCommand(),
		apiCommand(), contextCommand(), completionCommand(), versionCommand())
	return list
}

// commonFlags are on every command.
func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "table, wide, json, yaml or name"},
		&cli.BoolFlag{Name: "no-header", Usage: "tables without their first line"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "names only, and no notes"},
		&cli.StringSliceFlag{Name: "filter", Usage: "rows whose JSON `FIELD=VALUE`, repeatable"},
		&cli.StringFlag{Name: "addr", Usage: "daemon, as unix:///path or https://host:7372 (REX_ADDR)"},
		&cli.StringFlag{Name: "context", Usage: "`NAME` of a cluster, see rexctl context ls (REX_CONTEXT)"},
	}
}

// finish gives every command the common flags and behaviour.
func finish(list []*cli.Command, path string) {
	for _, c := range list {
		c.OnUsageError = onUsage
		c.HideHelpCommand = true
		whole := path + " " + c.Name
		if len(c.Subcommands) > 0 {
			c.Action = needCommand
			c.UsageText = whole + " COMMAND [flags] [arguments]"
			finish(c.Subcommands, whole)
			continue
		}
		c.UseShortOptionHandling = false
		c.UsageText = strings.TrimRight(whole+" [flags] "+c.ArgsUsage, " ")
		if example := examples[whole]; example != "" {
			c.UsageText += "\n\nEXAMPLE:\n   " + strings.ReplaceAll(example, "\n", "\n   ")
		}
		if looksBack[whole] {
			c.Flags = append(c.Flags, atFlag())
		}
		for _, f := range commonFlags() {
			if !slices.ContainsFunc(c.Flags, func(own cli.Flag) bool { return own.Names()[0] == f.Names()[0] }) {
				c.Flags = append(c.Flags, f)
			}
		}
		c.Before = checkCommon
	}
}

func checkCommon(c *cli.Context) error {
	switch c.String("output") {
	case "table", "wide", "json", "yaml", "name":
	default:
		return usagef("-o %s: want table, wide, json, yaml or name", c.String("output"))
	}
	for _, f := range c.StringSlice("filter") {
		if i := strings.IndexByte(f, '='); i < 1 {
			return usagef("--filter %s: want FIELD=VALUE", f)
		}
	}
	return nil
}

func onUsage(c *cli.Context, err error, _ bool) error {
	return usagef("%v\n  try: %s --help", err, strings.TrimSpace("rexctl "+strings.TrimPrefix(c.Command.FullName(), "rexctl ")))
}

// needCommand answers `rexctl` and `rexctl jail` with help.
func needCommand(c *cli.Context) error {
	c.App.Writer = envOf(c).stderr
	if c.Command == nil || c.Command.Name == "" || c.Command.Name == "rexctl" {
		_ = cli.ShowAppHelp(c)
	} else {
		_ = cli.ShowSubcommandHelp(c)
	}
	return &exit{code: exitUsage}
}

// wantArgs checks how many arguments there are; most < 0 is any number.
func wantArgs(c *cli.Context, least, most int) error {
	n := c.NArg()
	if n < least || (most >= 0 && n > most) {
		return usagef("want %s\n  try: rexctl %s --help", strings.SplitN(c.Command.UsageText, "\n", 2)[0], strings.TrimPrefix(c.Command.FullName(), "rexctl "))
	}
	return nil
}
