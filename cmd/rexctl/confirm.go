package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// confirm asks before something is destroyed. Where nobody can answer it
// refuses, so that a script says --yes on purpose.
func confirm(c *cli.Context, question string) error {
	e := envOf(c)
	if c.Bool("yes") {
		return nil
	}
	if !e.inTTY || !e.errTTY {
		return usagef("%s\n  there is no terminal to ask on: add --yes", question)
	}
	_, _ = fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(e.stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed")
}
