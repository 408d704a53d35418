package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/rexcarcer/rexcarcer/api"
)

func jailExecCommand() *cli.Command {
	return &cli.Command{Name: "exec", Usage: "run a command in a jail; its exit code is rexctl's", ArgsUsage: "JAIL -- CMD [ARG...]", Action: execute, Flags: []cli.Flag{
		&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "pass standard input on"},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "with a terminal"},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "add `NAME=VALUE`, repeatable"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`"},
		&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "run in `DIR`"},
	}}
}

func jailConsoleCommand() *cli.Command {
	return &cli.Command{Name: "console", Usage: "a shell in a jail", ArgsUsage: "JAIL", Action: console, Flags: []cli.Flag{
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "log in as `USER`"},
		&cli.StringFlag{Name: "shell", Value: "/bin/sh", Usage: "`PROGRAM` to run"},
	}}
}

func execute(c *cli.Context) error {
	if c.NArg() < 2 {
		return usagef("exec wants a jail and a command\n  try: rexctl exec JAIL -- CMD")
	}
	if c.Bool("tty") && !envOf(c).inTTY {
		return usagef("-t wants a terminal, and standard input is none\n  try: without -t")
	}
	return enter(c, api.ExecRequest{
		Argv: c.Args().Slice()[1:], Env: c.StringSlice("env"), User: c.String("user"), Dir: c.String("workdir"), TTY: c.Bool("tty"),
	}, c.Bool("interactive"))
}

func console(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	// A login shell reads the profile that sets PATH; without a terminal the
	// console reads commands from standard input.
	return enter(c, api.ExecRequest{Argv: []string{c.String("shell"), "-l"}, User: c.String("user"), TTY: envOf(c).inTTY}, true)
}

// enter runs a command in the jail that the first argument names.
func enter(c *cli.Context, req api.ExecRequest, interactive bool) error {
	client, name, err := one(c)
	if err != nil {
		return err
	}
	defer client.Close()
	return connected(c, req, interactive, func(ctx context.Context, req api.ExecRequest, s api.ExecStreams) (int, error) {
		return client.Exec(ctx, name, req, s)
	})
}

// connected runs a command far away with this terminal, and ends as it does.
func connected(c *cli.Context, req api.ExecRequest, interactive bool, run func(context.Context, api.ExecRequest, api.ExecStreams) (int, error)) error {
	e := envOf(c)
	streams := api.ExecStreams{Stdout: e.stdout, Stderr: e.stderr}
	if interactive {
		streams.Stdin = e.stdin
	}
	ctx := c.Context
	if req.TTY {
		restore, err := terminal(ctx, e, &req, &streams)
		if err != nil {
			return err
		}
		defer restore()
	}
	code, err := run(ctx, req, streams)
	switch {
	case errors.Is(err, context.Canceled):
		return &exit{code: 130} // as a shell says of ctrl-C
	case err != nil:
		return err
	case code != 0:
		return &exit{code: code}
	}
	return nil
}

// terminal makes the user's terminal raw, so that the jail's end does the
// echo, the editing and ctrl-C. What it returns must be called, whatever happens.
func terminal(ctx context.Context, e *env, req *api.ExecRequest, streams *api.ExecStreams) (restore func(), err error) {
	file, ok := e.stdin.(*os.File)
	if !ok {
		return nil, usagef("-t wants a terminal\n  try: without -t")
	}
	fd := int(file.Fd())
	if t := e.getenv("TERM"); t != "" {
		req.Env = append(req.Env, "TERM="+t)
	}
	req.Size = sizeOf(fd)
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("make the terminal raw: %w", err)
	}
	streams.Stdin = io.Reader(file)
	resize, stop := watchSize(ctx, fd)
	streams.Resize = resize
	return func() {
		stop()
		_ = term.Restore(fd, old) // the terminal is gone if this fails
	}, nil
}

func sizeOf(fd int) api.Size {
	cols, rows, err := term.GetSize(fd)
	if err != nil || cols < 0 || rows < 0 {
		return api.Size{Rows: 24, Cols: 80}
	}
	return api.Size{Rows: uint16(rows), Cols: uint16(cols)}
}

// width is how wide the terminal is, in characters.
func (e *env) width() int {
	for _, w := range []io.Writer{e.stdout, e.stderr} {
		if f, ok := w.(*os.File); ok {
			if cols, _, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 {
				return cols
			}
		}
	}
	return 0
}
