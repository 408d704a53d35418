package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func volumeCommand() *cli.Command {
	return &cli.Command{Name: "volume", Usage: "volumes: ls, show, snapshot, rollback, move, rm", Subcommands: []*cli.Command{
		{Name: "ls", Usage: "list volumes of the host that answers", Action: volumeLs},
		{Name: "show", Usage: "one volume and its snapshots", ArgsUsage: "VOLUME", Action: volumeShow},
		{Name: "snapshot", Usage: "keep the volume as it is now; without a name it is called after the time", ArgsUsage: "VOLUME[@SNAPSHOT]", Action: volumeSnapshot},
		{Name: "rollback", Usage: "make the volume of a stopped jail what it was", ArgsUsage: "VOLUME@SNAPSHOT", Action: volumeRollback, Flags: []cli.Flag{
			&cli.BoolFlag{Name: "drop-later", Usage: "destroy the snapshots that are newer"}, yesFlag(),
		}},
		volumeMoveCommand(),
		{Name: "rm", Usage: "destroy volumes that no jail has, or snapshots", ArgsUsage: "VOLUME[@SNAPSHOT]...", Action: volumeRm, Flags: []cli.Flag{yesFlag()}},
	}}
}

func volumeLs(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	rows, err := client.Volumes(c.Context)
	if err != nil {
		return err
	}
	return list(c, rows, func(r api.VolumeRow) string { return r.Name }, []column[api.VolumeRow]{
		{title: "NAME", get: func(r api.VolumeRow) string { return r.Name }},
		{title: "STATE", get: func(r api.VolumeRow) string { return r.State }},
		{title: "SIZE", get: func(r api.VolumeRow) string { return sizeOr(r.Bytes, "?") }},
		{title: "QUOTA", get: func(r api.VolumeRow) string { return sizeOr(r.QuotaBytes, "none") }},
		{title: "SNAPSHOTS", get: func(r api.VolumeRow) string { return fmt.Sprint(r.Snapshots) }},
		{title: "PATH", get: func(r api.VolumeRow) string { return r.Path }},
		{title: "HOST", wide: true, get: func(r api.VolumeRow) string { return r.Host }},
	})
}

// sizeOr prints n, or other for what is no size: -1 is unknown, 0 is no quota.
func sizeOr(n int64, other string) string {
	if n < 0 || n == 0 && other == "none" {
		return other
	}
	return size(n)
}

func volumeShow(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	client, name, _, err := volumeArg(c)
	if err != nil {
		return err
	}
	defer client.Close()
	v, err := client.Volume(c.Context, name)
	if err != nil {
		return err
	}
	if structured(c) {
		return document(c, v)
	}
	kv := [][2]string{
		{"Name", v.Name}, {"State", v.State}, {"Wish", v.Wish}, {"Jail", v.Jail}, {"Path", v.Path}, {"Host", v.Host},
		{"Size", sizeOr(v.Bytes, "?")}, {"Quota", sizeOr(v.QuotaBytes, "none")},
	}
	for _, s := range v.Snapshot {
		kv = append(kv, [2]string{"Snapshot", s.Name + ", " + clock(s.CreatedAt) + ", " + size(s.Bytes)})
	}
	return pairs(envOf(c), kv)
}

// volumeArg connects and takes the first argument apart.
func volumeArg(c *cli.Context) (client *api.Client, volume, snapshot string, err error) {
	if client, err = connect(c); err != nil {
		return nil, "", "", err
	}
	volume, snapshot, err = volumeNamed(c.Context, client, c.Args().First())
	if err != nil {
		client.Close()
		return nil, "", "", err
	}
	return client, volume, snapshot, nil
}

// volumeNamed finds the volume that VOLUME[@SNAPSHOT] means: WISH.JAIL.VOLUME,
// or its end where that is unambiguous.
func volumeNamed(ctx context.Context, client *api.Client, arg string) (volume, snapshot string, err error) {
	want, snapshot, _ := strings.Cut(arg, "@")
	rows, err := client.Volumes(ctx)
	if err != nil {
		return "", "", err
	}
	var found, names []string
	for _, r := range rows {
		if r.Name == want {
			return want, snapshot, nil
		}
		if want != "" && strings.HasSuffix(r.Name, "."+want) {
			found = append(found, r.Name)
		}
		names = append(names, r.Name)
	}
	switch len(found) {
	case 1:
		return found[0], snapshot, nil
	case 0:
		hint := "rexctl volume ls"
		if near := nearest(want, names); near != "" {
			hint = "rexctl volume show " + near
		}
		return "", "", &api.Error{Code: "not_found", Object: "volume " + safe(want), Message: "no such volume", Hint: hint}
	}
	return "", "", usagef("volume %s could be %s\n  try: more of the name", safe(want), strings.Join(found[:min(len(found), 8)], ", "))
}

func volumeSnapshot(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	client, volume, snapshot, err := volumeArg(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if snapshot == "" {
		snapshot = time.Now().UTC().Format("20060102-150405")
	}
	s, err := client.SnapshotVolume(c.Context, volume, snapshot)
	if err != nil {
		return err
	}
	if !s.Steady {
		envOf(c).note("the jail was writing meanwhile, and this storage does not stop the time: stop it for a copy that you can trust")
	}
	return said(c, s, "%s@%s", volume, s.Name)
}

func volumeRollback(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	client, volume, snapshot, err := volumeArg(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if snapshot == "" {
		return usagef("say to which snapshot\n  try: rexctl volume show %s", volume)
	}
	question := fmt.Sprintf("Throw away what was written to %s since %s?", volume, safe(snapshot))
	if c.Bool("drop-later") {
		question = fmt.Sprintf("Throw away what was written to %s since %s, and newer snapshots?", volume, safe(snapshot))
	}
	if err := confirm(c, question); err != nil {
		return err
	}
	v, err := client.RollbackVolume(c.Context, volume, api.RollbackRequest{Snapshot: snapshot, DropLater: c.Bool("drop-later")})
	if err != nil {
		return err
	}
	return said(c, v, "volume %s: as it was at %s", volume, snapshot)
}

func volumeRm(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	var targets []string
	for _, arg := range c.Args().Slice() {
		volume, snapshot, err := volumeNamed(c.Context, client, arg)
		if err != nil {
			return err
		}
		if snapshot != "" {
			volume += "@" + snapshot
		}
		targets = append(targets, volume)
	}
	if err := confirm(c, fmt.Sprintf("Destroy %s?", strings.Join(quoted(targets), ", "))); err != nil {
		return err
	}
	return each(targets, func(target string) error {
		var err error
		if volume, snapshot, ok := strings.Cut(target, "@"); ok {
			_, err = client.DropVolumeSnapshot(c.Context, volume, snapshot)
		} else {
			_, err = client.RemoveVolume(c.Context, volume)
		}
		if err != nil {
			return err
		}
		return said(c, map[string]string{"removed": target}, "volume %s: removed", target)
	})
}
