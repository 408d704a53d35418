// Command rexcarcer is the daemon that runs on each host, and, inside a
// network's router jail, the router.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

// version is stamped by the Makefile.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := app().RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "rexcarcer: "+err.Error())
		stop()
		if usage := (usageError{}); errors.As(err, &usage) {
			os.Exit(64)
		}
		os.Exit(1)
	}
}

// usageError is a command line or configuration that makes no sense.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func app() *cli.App {
	return &cli.App{
		Name:    "rexcarcer",
		Usage:   "runs jails across many hosts; this is the daemon of one host",
		Version: version,
		Description: "Try it on one machine:\n\n   rexcarcer -dev\n\nand in another terminal:\n\n   rexctl apply cluster.hcl\n\n" +
			"SIGINT and SIGTERM end it. With -dev the jails are stopped and everything made on the host is removed;\n" +
			"without it the jails go on, and the next start adopts them.",
		Flags:           daemonFlags(),
		HideHelpCommand: true,
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
		ExitErrHandler:  func(*cli.Context, error) {}, // main prints and chooses the code
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Errorf("unknown command %q: see rexcarcer -help", c.Args().First())}
			}
			o, err := optionsFrom(c)
			if err != nil {
				return usageError{err}
			}
			if err := o.complete(); err != nil {
				return err
			}
			return runDaemon(c.Context, o)
		},
		Commands: []*cli.Command{routerCommand(), replayCommand()},
	}
}
