package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// maxFile bounds what is read, in bytes; spec has the same limit.
const maxFile = 16 << 20

// source is a file that a user named, or standard input.
type source struct {
	name string // as given, for messages
	dir  string // .rex files and build contexts are found from here
	text []byte
}

// readSource reads a file, the cluster file of a folder, or standard input.
func readSource(e *env, name string) (*source, error) {
	if name == "-" {
		b, err := io.ReadAll(io.LimitReader(e.stdin, maxFile+1))
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return &source{"stdin.hcl", ".", b}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	if info.IsDir() {
		if name, err = clusterFile(name); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fileError(name, err)
	}
	return &source{name, filepath.Dir(name), b}, nil
}

func fileError(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no such file\n  try: ls *.hcl *.rex", name)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// clusterFile is the file that a folder means: cluster.hcl, or its only .hcl.
func clusterFile(dir string) (string, error) {
	name := filepath.Join(dir, "cluster.hcl")
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.hcl"))
	if err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s: want cluster.hcl or exactly one .hcl file in it, found %d\n  try: name the file", dir, len(found))
	}
	return found[0], nil
}

func (s *source) isRex() bool { return spec.IsRex(s.name) }

// inputs is what spec may read beside the text.
func (s *source) inputs(vars map[string]string) spec.Inputs {
	return spec.Inputs{
		Vars: vars,
		Files: func(name string) ([]byte, error) {
			f, err := os.Open(filepath.Join(s.dir, filepath.FromSlash(name)))
			if err != nil {
				return nil, fileError(name, err)
			}
			defer func() { _ = f.Close() }()
			return io.ReadAll(io.LimitReader(f, maxFile+1))
		},
		CopyDigest: func(contextDir string, src []string) (string, error) {
			root, err := os.OpenRoot(filepath.Join(s.dir, filepath.FromSlash(contextDir)))
			if err != nil {
				return "", fileError(contextDir, err)
			}
			defer func() { _ = root.Close() }()
			return zfssync.CopyDigest(root, src)
		},
	}
}

// known adds what the cluster has already to in.
func known(ctx context.Context, client *api.Client, in *spec.Inputs) error {
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	images, err := client.Images(ctx)
	if err != nil {
		return err
	}
	networks, err := client.Networks(ctx)
	if err != nil {
		return err
	}
	in.Domain = st.Domain
	for _, i := range images {
		in.Images = append(in.Images, i.Name)
	}
	for _, n := range networks {
		in.Networks = append(in.Networks, spec.KnownNetwork{Name: n.Name, Subnet: n.Subnet, Wish: n.Wish})
	}
	return nil
}

// parse makes the wish, or shows what is wrong with the file.
func (s *source) parse(c *cli.Context, in spec.Inputs) (*spec.Wish, error) {
	var w *spec.Wish
	var found spec.Diagnostics
	switch {
	case s.isRex():
		w, found = spec.ParseRexWish(s.name, s.text, in)
	case spec.IsINI(s.name):
		w, found = spec.ParseINI(s.name, s.text, in)
	default:
		w, found = spec.Parse(s.name, s.text, in)
	}
	return w, s.show(envOf(c), found)
}

// show prints diagnostics; it fails if one of them is an error.
func (s *source) show(e *env, found spec.Diagnostics) error {
	if len(found) > 0 {
		_, _ = fmt.Fprint(e.stderr, found.Format(s.text, e.colour(e.errTTY)))
	}
	if !found.HasErrors() {
		return nil
	}
	n := 0
	for _, d := range found {
		if !d.Warning {
			n++
		}
	}
	return fmt.Errorf("%s: %s", s.name, plural(n, "error"))
}

// variables reads -var NAME=VALUE.
func variables(c *cli.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, kv := range c.StringSlice("var") {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usagef("-var %s: want NAME=VALUE", kv)
		}
		out[k] = v
	}
	return out, nil
}

func varFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "var", Usage: "set a variable of the file, as `NAME=VALUE`, repeatable"}
}

func validateCommand() *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check a cluster file, .rex file or supervisor file without a daemon", ArgsUsage: "FILE...",
		Flags: []cli.Flag{varFlag(), &cli.BoolFlag{Name: "online", Usage: "ask the daemon which images and networks exist already"}}, Action: validate,
	}
}

func validate(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	vars, err := variables(c)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range c.Args().Slice() {
		s, err := readSource(envOf(c), name)
		if err == nil {
			err = validateOne(c, s, vars)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func validateOne(c *cli.Context, s *source, vars map[string]string) error {
	in := s.inputs(vars)
	if err := online(c, &in); err != nil {
		return err
	}
	if s.isRex() {
		img, found := spec.ParseRex(s.name, s.text, in)
		if err := s.show(envOf(c), found); err != nil {
			return err
		}
		return said(c, img, "%s: valid: image %s, %s", s.name, img.Name, plural(len(img.Steps), "step"))
	}
	w, err := s.parse(c, in)
	if err != nil {
		return err
	}
	return said(c, w, "%s: valid: %s, %s, %s", s.name, plural(len(w.Networks), "network"), plural(len(w.Images), "image"), plural(len(w.Jails), "jail"))
}

// said prints a line, or with -o json or yaml the document behind it.
func said(c *cli.Context, doc any, format string, args ...any) error {
	if structured(c) {
		return document(c, doc)
	}
	if c.Bool("quiet") {
		return nil
	}
	_, err := fmt.Fprintf(envOf(c).stdout, format+"\n", args...)
	return err
}

// online adds what the cluster has already, if --online asks for that.
func online(c *cli.Context, in *spec.Inputs) error {
	if !c.Bool("online") {
		return nil
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	return known(c.Context, client, in)
}

func fmtCommand() *cli.Command {
	return &cli.Command{
		Name: "fmt", Usage: "bring a cluster file into the usual form", ArgsUsage: "FILE...",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "check", Usage: "change nothing, exit 1 if a file is not in that form"}}, Action: format,
	}
}

func format(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	e := envOf(c)
	var failed []error
	for _, name := range c.Args().Slice() {
		if err := formatOne(e, name, c.Bool("check")); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func formatOne(e *env, name string, check bool) error {
	s, err := readSource(e, name)
	if err != nil {
		return err
	}
	if spec.IsINI(s.name) {
		return fmt.Errorf("%s: supervisor files are left as they are\n  try: rexctl convert %s", s.name, s.name)
	}
	out, err := spec.Format(s.name, s.text)
	if err != nil {
		var found spec.Diagnostics
		if errors.As(err, &found) {
			return s.show(e, found)
		}
		return fmt.Errorf("%s: %w", s.name, err)
	}
	switch {
	case name == "-" && !check:
		_, err := e.stdout.Write(out)
		return err
	case bytes.Equal(out, s.text):
		return nil
	case check:
		return fmt.Errorf("%s: not in the usual form\n  try: rexctl fmt %s", s.name, s.name)
	}
	if err := overwrite(s.name, out); err != nil {
		return err
	}
	e.note("%s: formatted", s.name)
	return nil
}
