// Command rexcarcer is the daemon that runs on each host, and, inside a
// network's router jail, the router.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// version is stamped by the Makefile.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := app().RunContext(ctx, flagsFirst(os.Args)); err != nil {
		fmt.Fprintln(os.Stderr, "rexcarcer: "+err.Error())
		stop()
		if usage := (usageError{}); errors.As(err, &usage) {
			os.Exit(64)
		}
		os.Exit(1)
	}
}

// flagsFirst moves the address of `join ADDR -token TOKEN` behind the flags,
// where the library looks for it.
func flagsFirst(args []string) []string {
	if len(args) < 4 || args[1] != "join" || strings.HasPrefix(args[2], "-") {
		return args
	}
	return append(append(append([]string{}, args[:2]...), args[3:]...), args[2])
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
		Commands: []*cli.Command{initCommand(), joinCommand(), recoverCommand(), routerCommand(), uplinkCommand(), replayCommand(), selftestCommand(), selftestInsideCommand()},
	}
}
