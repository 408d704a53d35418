package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/rexcarcer/rexcarcer/api"
)

// version is stamped by the linker.
var version = "dev"

func main() {
	// Signals end the context, so that terminals are restored and streams
	// closed; exec and apply look at it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, &env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
		inTTY: term.IsTerminal(int(os.Stdin.Fd())), outTTY: term.IsTerminal(int(os.Stdout.Fd())), errTTY: term.IsTerminal(int(os.Stderr.Fd())),
	})
	stop()
	os.Exit(code)
}

// env is what a command has of the world outside.
type env struct {
	stdin                 io.Reader
	stdout, stderr        io.Writer
	getenv                func(string) string
	inTTY, outTTY, errTTY bool
}

func envOf(c *cli.Context) *env { return c.App.Metadata["env"].(*env) }

// note prints a line for people: progress, hints, what was done.
func (e *env) note(format string, args ...any) {
	_, _ = fmt.Fprintf(e.stderr, format+"\n", args...) // nowhere to report to
}

// colour says whether w, which is a terminal or not, may have colour.
func (e *env) colour(tty bool) bool {
	return tty && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"
}

// The exit codes that scripts rely on.
const (
	exitError    = 1
	exitChanges  = 2
	exitPartial  = 3
	exitConflict = 4
	exitUsage    = 64
)

// exit is an error with an exit code of its own. A nil err prints nothing.
type exit struct {
	code int
	err  error
}

func (x *exit) Error() string {
	if x.err == nil {
		return fmt.Sprintf("exit code %d", x.code)
	}
	return x.err.Error()
}

func (x *exit) Unwrap() error { return x.err }

func usagef(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}

// run is rexctl: it returns the exit code.
func run(ctx context.Context, argv []string, e *env) int {
	app := newApp(e)
	if len(argv) > 1 && argv[1] == completeCommand {
		return complete(ctx, app, e, argv[2:])
	}
	args, err := arrange(app, argv[1:])
	if err == nil {
		err = app.RunContext(ctx, append([]string{"rexctl"}, args...))
	}
	return report(e, err)
}

// report prints err and chooses the exit code.
func report(e *env, err error) int {
	if err == nil {
		return 0
	}
	code := exitError
	var x *exit
	if errors.As(err, &x) {
		if code = x.code; x.err == nil {
			return code
		}
	}
	var answer *api.Error
	if x == nil && errors.As(err, &answer) && answer.Code == "conflict" {
		code = exitConflict
	}
	text := err.Error()
	var gone *api.Unreachable
	if errors.As(err, &gone) {
		text += "\n" + hintUnreachable(gone)
	}
	var unknown x509.UnknownAuthorityError
	var alert *net.OpError // crypto/tls has no exported type for what the other side said
	switch {
	case errors.As(err, &unknown):
		text += "\n  set REX_CACERT to the file with the cluster's CA"
	case errors.As(err, &alert) && alert.Op == "remote error":
		text += "\n  set REX_CLIENT_CERT and REX_CLIENT_KEY to a certificate of the cluster, with the role user"
	}
	e.note("rexctl: %s", strings.TrimRight(text, "\n"))
	return code
}

func hintUnreachable(u *api.Unreachable) string {
	switch {
	case errors.Is(u, os.ErrPermission):
		return "  the local socket is for root: run rexctl as root, or set REX_ADDR, REX_CACERT, REX_CLIENT_CERT and REX_CLIENT_KEY"
	case strings.HasPrefix(u.Addr, "unix://"):
		return "  is rexcarcer running? start: rexcarcer -dev\n  it listens elsewhere? set REX_ADDR=unix:///path/to/rexcarcer.sock"
	}
	return "  is rexcarcer running there, and is REX_ADDR right?"
}
