package main

import (
	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/spec"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name: "convert", Usage: "write a supervisor file (.ini) as a cluster file", ArgsUsage: "FILE.ini",
		Description: "The cluster file means the same as the supervisor file; what has no counterpart is said on stderr.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "online", Usage: "ask the daemon which networks exist already"}},
		Action:      convert,
	}
}

func convert(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	s, err := readSource(envOf(c), c.Args().First())
	if err != nil {
		return err
	}
	if !spec.IsINI(s.name) {
		return usagef("%s is no supervisor file: its name does not end in .ini", s.name)
	}
	in := s.inputs(nil)
	if err := online(c, &in); err != nil {
		return err
	}
	text, found := spec.ConvertINI(s.name, s.text, in)
	if err := s.show(envOf(c), found); err != nil {
		return err
	}
	_, err = envOf(c).stdout.Write(text)
	return err
}
