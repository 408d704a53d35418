package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func moveFlags(jail bool) []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "to", Usage: "name or id of the `HOST`"},
		&cli.BoolFlag{Name: "cancel", Usage: "give up the move that goes on"},
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait until it is there"},
		&cli.DurationFlag{Name: "timeout", Value: time.Hour, Usage: "of the wait; exit 3 when it is over, and the move goes on"},
	}
	if jail {
		flags = append(flags, &cli.BoolFlag{Name: "force", Usage: "also where a pin or a constraint forbids it"})
	}
	return flags
}

func jailMoveCommand() *cli.Command {
	return &cli.Command{
		Name: "move", Usage: "move a jail with its volumes to another host", ArgsUsage: "JAIL --to HOST | JAIL --cancel",
		Description: "The image and a copy of the volumes are brought there while it runs; then it is stopped, what changed follows, and it starts there. " +
			"Its name, address and uuid stay. A move that fails leaves it where it was.",
		Flags: moveFlags(true), Action: moveJail,
	}
}

func volumeMoveCommand() *cli.Command {
	return &cli.Command{
		Name: "move", Usage: "move a volume that no jail declares to another host", ArgsUsage: "VOLUME --to HOST | VOLUME --cancel",
		Flags: moveFlags(false), Action: moveVolume,
	}
}

func moveCommand() *cli.Command {
	return &cli.Command{Name: "move", Usage: "moves between hosts: ls", Subcommands: []*cli.Command{{
		Name: "ls", Usage: "what is on its way, and the last move of each jail and volume",
		Action: asking(0, 0, func(c *cli.Context, a *api.Client) ([]api.MoveRow, error) {
			rows, _, err := a.Moves(c.Context, "", 0, 0)
			return rows, err
		}, listMoves),
	}}}
}

func listMoves(c *cli.Context, rows []api.MoveRow) error {
	return list(c, rows, func(r api.MoveRow) string { return r.Object }, []column[api.MoveRow]{
		{title: "WHAT", get: func(r api.MoveRow) string { return r.Kind + " " + r.Object }},
		{title: "FROM", get: func(r api.MoveRow) string { return r.From }},
		{title: "TO", get: func(r api.MoveRow) string { return r.To }},
		{title: "PHASE", get: func(r api.MoveRow) string { return r.Phase }, mood: func(r api.MoveRow) mood { return moveMood(r.Phase) }},
		{title: "BYTES", get: func(r api.MoveRow) string { return size(r.Bytes) }},
		{title: "DOWN", get: func(r api.MoveRow) string { return downText(r.Down) }},
		{title: "ASKED", get: func(r api.MoveRow) string { return clock(r.AskedAt) }},
		{title: "BY", wide: true, get: func(r api.MoveRow) string { return r.By }},
		{title: "REASON", wide: true, get: func(r api.MoveRow) string { return r.Reason }},
		{title: "ERROR", get: func(r api.MoveRow) string { return r.Error }},
	})
}

func moveMood(phase string) mood {
	switch phase {
	case "done":
		return good
	case "failed":
		return bad
	}
	return warning
}

func downText(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f s", seconds)
}

func checkMove(c *cli.Context) error {
	switch {
	case c.NArg() != 1:
		return usagef("name one thing to move\n  try: %s --help", c.Command.HelpName)
	case c.Bool("cancel") == (c.String("to") != ""):
		return usagef("say --to HOST, or --cancel\n  try: rexctl host ls")
	case c.Duration("timeout") <= 0:
		return usagef("--timeout %s: want more than nothing, as 5m", c.Duration("timeout"))
	}
	return nil
}

func moveJail(c *cli.Context) error {
	if err := checkMove(c); err != nil {
		return err
	}
	client, name, err := one(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if c.Bool("cancel") {
		return cancelMove(c, client, name, false)
	}
	done, err := client.MoveJail(c.Context, name, api.MoveRequest{To: c.String("to"), Force: c.Bool("force")})
	if err != nil {
		return err
	}
	return followMove(c, client, name, done)
}

func moveVolume(c *cli.Context) error {
	if err := checkMove(c); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	name, err := volumeAnywhere(c.Context, client, c.Args().First())
	if err != nil {
		return err
	}
	if c.Bool("cancel") {
		return cancelMove(c, client, name, true)
	}
	done, err := client.MoveVolume(c.Context, name, api.MoveRequest{To: c.String("to")})
	if err != nil {
		return err
	}
	return followMove(c, client, name, done)
}

// volumeAnywhere finds the volume that arg means on any host of the cluster.
func volumeAnywhere(ctx context.Context, client *api.Client, arg string) (string, error) {
	homes, err := client.VolumeHomes(ctx)
	if err != nil {
		return "", err
	}
	var found, names []string
	for _, h := range homes {
		if h.Volume == arg {
			return arg, nil
		}
		if arg != "" && strings.HasSuffix(h.Volume, "."+arg) {
			found = append(found, h.Volume)
		}
		names = append(names, h.Volume)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		hint := "rexctl volume ls"
		if near := nearest(arg, names); near != "" {
			hint = "rexctl volume move " + near + " --to HOST"
		}
		return "", &api.Error{Code: "not_found", Object: "volume " + safe(arg), Message: "no host has such a volume", Hint: hint}
	}
	return "", usagef("volume %s could be %s\n  try: more of the name", safe(arg), strings.Join(found[:min(len(found), 8)], ", "))
}

func cancelMove(c *cli.Context, client *api.Client, name string, volume bool) error {
	done, err := client.CancelMove(c.Context, name, volume)
	if err != nil {
		return err
	}
	return said(c, done, "move of %s: cancelled, nothing was changed", name)
}

// followMove tells of the move until it has ended.
func followMove(c *cli.Context, client *api.Client, name string, done api.Applied) error {
	if c.Bool("detach") {
		return said(c, done, "%s is on its way to %s: rexctl move ls", name, c.String("to"))
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	e, told := envOf(c), ""
	for index := uint64(0); ; {
		rows, at, err := client.Moves(ctx, name, index, 10*time.Second)
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return &exit{exitPartial, fmt.Errorf("%s is not on %s after %s: the move goes on\n  try: rexctl move ls", name, c.String("to"), c.Duration("timeout"))}
		case c.Context.Err() != nil:
			e.note("detached: the move goes on without you. Look with: rexctl move ls")
			return &exit{code: exitPartial}
		case err != nil:
			return err
		case len(rows) == 0:
			return fmt.Errorf("the move of %s is not known any more: it was removed meanwhile", name)
		}
		index = at
		row := rows[len(rows)-1]
		if row.Phase != told && !c.Bool("quiet") {
			told = row.Phase
			if text := moveText(row); text != "" {
				e.note("%s", clean(text))
			}
		}
		switch row.Phase {
		case "failed":
			return fmt.Errorf("move %s from %s to %s: %s\n  it is where it was", safe(row.Object), row.From, row.To, clean(row.Error))
		case "done":
			return moved(c, row)
		}
	}
}

func moveText(r api.MoveRow) string {
	switch r.Phase {
	case "asked":
		if len(r.Volumes) == 0 {
			return fmt.Sprintf("%s: %s gets its image", r.Object, r.To)
		}
		return fmt.Sprintf("%s: %s copies %s from %s", r.Object, r.To, plural(len(r.Volumes), "volume"), r.From)
	case "copied":
		return fmt.Sprintf("%s: stops on %s", r.Object, r.From)
	case "stopped":
		return fmt.Sprintf("%s: has stopped, the rest follows", r.Object)
	case "placed":
		return fmt.Sprintf("%s: starts on %s", r.Object, r.To)
	}
	return ""
}

func moved(c *cli.Context, r api.MoveRow) error {
	text := fmt.Sprintf("moved %s from %s to %s: %s", r.Object, r.From, r.To, size(r.Bytes))
	if r.Down > 0 {
		text += fmt.Sprintf(", down for %.2f s", r.Down)
	}
	if err := said(c, r, "%s", text); err != nil {
		return err
	}
	if r.Error != "" {
		return fmt.Errorf("%s is on %s, but: %s\n  try: rexctl why %s", safe(r.Object), r.To, clean(r.Error), safe(r.Object))
	}
	return nil
}
