package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
)

func imageCommand() *cli.Command {
	return &cli.Command{Name: "image", Usage: "images: ls, build, debug, gc, rm", Subcommands: []*cli.Command{
		{Name: "ls", Usage: "list image names", Action: imageLs},
		{Name: "show", Usage: "one image, and what it is made of", ArgsUsage: "IMAGE", Action: imageShow},
		{Name: "build", Usage: "build a .rex file", ArgsUsage: "[FILE.rex|DIR]", Action: imageBuild, Flags: []cli.Flag{
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "the .rex `FILE`"},
			&cli.StringFlag{Name: "tag", Aliases: []string{"t"}, Usage: "give the image this `NAME[:TAG]`; default is the file's name"},
			&cli.BoolFlag{Name: "keep", Usage: "keep what a step that fails has left, as NAME:failed, to look into"},
			&cli.DurationFlag{Name: "timeout", Usage: "longest `TIME` of one step; default is the host's limit"},
			hostFlag("the `HOST` that builds; default is the one that answers"),
		}},
		{Name: "rm", Usage: "remove names that no jail uses", ArgsUsage: "NAME...", Action: imageRm, Flags: []cli.Flag{yesFlag()}},
		imageDebugCommand(), imageGCCommand(),
	}}
}

func imageLs(c *cli.Context) error {
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	rows, err := client.Images(c.Context)
	if err != nil {
		return err
	}
	return list(c, rows, func(r api.ImageRow) string { return r.Name }, []column[api.ImageRow]{
		{title: "NAME", get: func(r api.ImageRow) string { return r.Name }},
		{title: "BASE", get: func(r api.ImageRow) string { return r.Base }},
		{title: "STEPS", get: func(r api.ImageRow) string { return fmt.Sprint(r.Steps) }},
		{title: "SIZE", get: func(r api.ImageRow) string {
			if len(r.Hosts) == 0 {
				return ""
			}
			return size(r.Bytes)
		}},
		{title: "BUILT", get: func(r api.ImageRow) string { return clock(r.BuiltAt) }},
		{title: "JAILS", get: func(r api.ImageRow) string { return fmt.Sprint(r.Jails) }},
		{title: "WISH", get: func(r api.ImageRow) string { return r.Wish }},
		{title: "SIGNED BY", wide: true, get: func(r api.ImageRow) string { return r.SignedBy }},
		{title: "KEY", wide: true, get: func(r api.ImageRow) string { return r.Key }},
		{title: "HOSTS", wide: true, get: func(r api.ImageRow) string { return joined(r.Hosts) }},
	})
}

func joined[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = string(x)
	}
	return strings.Join(out, ",")
}

func imageBuild(c *cli.Context) error {
	name, err := rexFile(c)
	if err != nil {
		return err
	}
	if c.IsSet("timeout") && c.Duration("timeout") <= 0 {
		return usagef("--timeout %s: want a time above 0, such as 10m", c.Duration("timeout"))
	}
	s, err := readSource(envOf(c), name)
	if err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	in := s.inputs(nil)
	if err := known(c.Context, client, &in); err != nil {
		return err
	}
	if in.Tag = c.String("tag"); in.Tag != "" {
		if err := spec.ValidImageName(in.Tag); err != nil {
			return usagef("-t %s: %v", safe(in.Tag), err)
		}
	}
	img, found := spec.ParseRex(s.name, s.text, in)
	if err := s.show(envOf(c), found); err != nil {
		return err
	}
	client = client.On(c.String("host"))
	if err := pinImage(c.Context, client, img); err != nil {
		return err
	}
	res, err := buildOne(c, client, *img, s.dir, buildOptions{tag: true, keep: c.Bool("keep"), timeout: c.Duration("timeout")})
	if err != nil {
		return err
	}
	return said(c, res, "%s", img.Name)
}

// rexFile is the file to build: as named, the Rexfile of a directory, or that
// of this one.
func rexFile(c *cli.Context) (string, error) {
	name := c.String("file")
	switch {
	case name == "" && c.NArg() == 1:
		name = c.Args().First()
	case name == "" && c.NArg() == 0:
		name = "Rexfile"
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
		fallthrough
	case c.NArg() > 0:
		return "", usagef("image build wants one .rex file, or a directory with a Rexfile\n  try: rexctl image build web.rex")
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return filepath.Join(name, "Rexfile"), nil
	}
	return name, nil
}

func imageRm(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := confirm(c, fmt.Sprintf("Remove %s %s?", noun(c.NArg(), "image"), strings.Join(quoted(c.Args().Slice()), ", "))); err != nil {
		return err
	}
	return each(c.Args().Slice(), func(name string) error {
		if _, err := client.RemoveImage(c.Context, name); err != nil {
			return err
		}
		return said(c, nil, "image %s: removed", name)
	})
}

// each does one thing to many and reports all that failed.
func each(names []string, do func(string) error) error {
	var failed []error
	for _, n := range names {
		if err := do(n); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func noun(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = safe(n)
	}
	return out
}
