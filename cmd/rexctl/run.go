package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
)

// A jail that `run` makes is a wish of its own: NAME's is called run-NAME.
const (
	runWishPrefix = "run-"
	runWishSource = "rexctl run"
)

// holdCommand keeps a jail going for a command that is entered into it: only
// exec has a terminal and standard input.
var holdCommand = []string{"/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"}

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run a command in a jail of its own; its exit code is rexctl's", ArgsUsage: "IMAGE [-- CMD [ARG...]]", Action: runJail,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "of the jail (default: one is made up)"},
			&cli.StringFlag{Name: "network", Value: "none", Usage: "`NETWORK` that it is in"},
			&cli.StringSliceFlag{Name: "addr", Usage: "`dhcp|IP` of the network, default dhcp: it is leased (the daemon's, see REX_ADDR, may be given too)"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "only start it, and print its name"},
			&cli.BoolFlag{Name: "rm", Usage: "remove it when the command has ended"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "pass standard input on"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "with a terminal"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "add `NAME=VALUE`, repeatable"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run as `USER[:GROUP]`"},
			&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "run in `DIR`"},
			&cli.BoolFlag{Name: "socket", Usage: "it may ask who it is, on its network's socket"},
			&cli.StringFlag{Name: "restart", Value: "never", Usage: "with -d: never, on-failure or always"},
			hostFlag("run it on this `HOST`"),
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "of the wait until it has started; exit 3 when it is over"},
		},
	}
}

// runner is one `rexctl run`.
type runner struct {
	c      *cli.Context
	e      *env
	client *api.Client
	name   string
	wish   string
}

func runJail(c *cli.Context) error {
	if err := checkRun(c); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	w, err := wishOfRun(c, client)
	if err != nil {
		return err
	}
	if err := nameIsFree(c.Context, client, w); err != nil {
		return err
	}
	if err := pinBases(c.Context, client, w, false); err != nil {
		return err
	}
	p := &planned{wish: w, dir: ".", file: runWishSource}
	if err := p.refresh(c.Context, client); err != nil {
		return err
	}
	if err := buildMissing(c, client, p); err != nil {
		return err
	}
	r := &runner{c: c, e: envOf(c), client: client, name: w.Jails[0].Name, wish: w.Name}
	if _, err := commit(c, client, p, p.plan.BaseIndex); err != nil {
		return fmt.Errorf("run %s: %w", r.name, err)
	}
	switch {
	case c.Bool("detach"):
		return r.detached()
	case interactive(c):
		err = r.entered()
	default:
		err = r.foreground()
	}
	if c.Bool("rm") {
		err = errors.Join(err, r.remove())
	}
	return err
}

func interactive(c *cli.Context) bool { return c.Bool("interactive") || c.Bool("tty") }

func checkRun(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	switch detach := c.Bool("detach"); {
	case detach && interactive(c):
		return usagef("-d and -it exclude each other\n  try: rexctl console NAME afterwards")
	case detach && c.Bool("rm"):
		return usagef("--rm waits for the end of the command, -d does not\n  try: rexctl jail rm NAME afterwards")
	case !detach && c.String("restart") != "never":
		return usagef("--restart=%s: a command that is waited for is not restarted\n  try: with -d", c.String("restart"))
	case c.Bool("tty") && !envOf(c).inTTY:
		return usagef("-t wants a terminal, and standard input is none\n  try: without -t")
	case jailAddr(c) != "dhcp" && c.String("network") == "none":
		return usagef("--addr=%s wants a network\n  try: --network NETWORK", jailAddr(c))
	}
	return nil
}

// wishOfRun is what the flags wish: one jail, and its image where IMAGE is no
// image of the cluster but a base.
func wishOfRun(c *cli.Context, client *api.Client) (*spec.Wish, error) {
	image, argv := c.Args().First(), c.Args().Tail()
	name := c.String("name")
	if name == "" {
		name = madeUp(image)
	}
	if err := spec.ValidName(name); err != nil {
		return nil, usagef("%v", err)
	}
	j := spec.Jail{
		Name: name, Image: image, Command: argv, User: c.String("user"), WorkDir: c.String("workdir"),
		Restart: spec.Restart{Policy: c.String("restart")}, Place: spec.Placement{Host: c.String("host")}, Socket: c.Bool("socket"),
	}
	if interactive(c) {
		j.Command, j.Stop = holdCommand, 2*time.Second
	}
	for _, kv := range c.StringSlice("env") {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usagef("-e %s: want NAME=VALUE", safe(kv))
		}
		j.Env = append(j.Env, spec.EnvVar{Name: k, Value: v})
	}
	if n := c.String("network"); n != "none" {
		nic := spec.NIC{Network: n}
		if text := jailAddr(c); text != "dhcp" {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, usagef("--addr=%s: want dhcp or an address, as 192.168.77.50", safe(text))
			}
			if a.Is4() {
				nic.Addr = a
			} else {
				nic.Addr6 = a
			}
		}
		j.NICs = []spec.NIC{nic}
	}
	w := &spec.Wish{Name: runWishPrefix + name, Source: runWishSource}
	images, err := client.Images(c.Context)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(images, func(r api.ImageRow) bool { return r.Name == image }) {
		if !strings.ContainsAny(image, ":/") {
			return nil, &api.Error{Code: "not_found", Object: "image " + image, Message: "there is no such image", Hint: "rexctl image ls, or a base as debian:bookworm"}
		}
		j.Image = name
		w.Images = []spec.Image{{Name: name, Base: image}}
	}
	w.Jails = []spec.Jail{j}
	if err := w.Seal(); err != nil {
		return nil, err
	}
	w.Normalize()
	if err := w.Validate(); err != nil {
		return nil, usagef("%v", err)
	}
	return w, nil
}

// madeUp is a name that nobody has: the image's, and a random end.
func madeUp(image string) string {
	var b [3]byte
	_, _ = rand.Read(b[:])                 // never fails
	image = strings.TrimRight(image, ":/") // host:/ is host
	stem := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(image[strings.LastIndexByte(image, '/')+1:]))
	stem = strings.Trim(stem[:min(len(stem), 40)], "-")
	if stem == "" || stem[0] < 'a' {
		stem = "run-" + stem
	}
	return strings.Trim(stem, "-") + "-" + hex.EncodeToString(b[:])
}

// nameIsFree refuses to replace a jail: a command is run once.
func nameIsFree(ctx context.Context, client *api.Client, w *spec.Wish) error {
	if err := ownWish(ctx, client, w); err != nil {
		return err
	}
	name := w.Jails[0].Name
	_, err := client.Jail(ctx, name)
	var answer *api.Error
	if errors.As(err, &answer) && answer.Code == "not_found" {
		return nil
	}
	if err != nil {
		return err
	}
	return &api.Error{Code: "invalid", Object: "jail " + name, Message: "is there already", Hint: "rexctl jail rm " + name + ", or another --name"}
}

// remove takes the jail and its wish away and waits until it is gone.
func (r *runner) remove() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.c.Context), time.Minute)
	defer cancel()
	if _, err := r.client.DestroyWish(ctx, r.wish, 0); err != nil {
		return fmt.Errorf("remove jail %s: %w", r.name, err)
	}
	_, err := r.until(ctx, func(j *api.JailRow) bool { return j == nil })
	if err != nil {
		return fmt.Errorf("jail %s is not gone yet: %w", r.name, err)
	}
	return nil
}
