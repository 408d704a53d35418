package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func volumeCommand() *cli.Command {
	return &cli.Command{Name: "volume", Usage: "volumes: ls, show, snapshot, rollback, move, rm", Subcommands: []*cli.Command{
		{Name: "ls", Usage: "list the volumes of all hosts", Action: volumeLs, Flags: []cli.Flag{hostFlag("only those of this `HOST`")}},
		{Name: "show", Usage: "one volume and its snapshots", ArgsUsage: "VOLUME", Action: volumeShow, Flags: []cli.Flag{volumeHost()}},
		{Name: "snapshot", Usage: "keep the volume as it is now; without a name it is called after the time", ArgsUsage: "VOLUME[@SNAPSHOT]", Action: volumeSnapshot, Flags: []cli.Flag{volumeHost()}},
		{Name: "rollback", Usage: "make the volume of a stopped jail what it was", ArgsUsage: "VOLUME@SNAPSHOT", Action: volumeRollback, Flags: []cli.Flag{
			&cli.BoolFlag{Name: "drop-later", Usage: "destroy the snapshots that are newer"}, volumeHost(), yesFlag(),
		}},
		volumeMoveCommand(),
		{Name: "rm", Usage: "destroy volumes that no jail has, or snapshots", ArgsUsage: "VOLUME[@SNAPSHOT]...", Action: volumeRm, Flags: []cli.Flag{volumeHost(), yesFlag()}},
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
	all, err := everyHost(c, client, func(ctx context.Context, on *api.Client) ([]api.VolumeRow, error) { return on.Volumes(ctx) })
	if err != nil {
		return err
	}
	rows := []api.VolumeRow{}
	for _, a := range all {
		rows = append(rows, a.got...)
	}
	slices.SortFunc(rows, func(a, b api.VolumeRow) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Host, b.Host)) })
	// What some hosts have is worth more than nothing.
	return errors.Join(listVolumes(c, rows, len(all) > 1), failedOf(all))
}

func listVolumes(c *cli.Context, rows []api.VolumeRow, several bool) error {
	return list(c, rows, func(r api.VolumeRow) string { return r.Name }, []column[api.VolumeRow]{
		{title: "NAME", get: func(r api.VolumeRow) string { return r.Name }},
		{title: "STATE", get: func(r api.VolumeRow) string { return r.State }},
		{title: "SIZE", get: func(r api.VolumeRow) string { return sizeOr(r.Bytes, "?") }},
		{title: "QUOTA", get: quotaText},
		{title: "SNAPSHOTS", get: func(r api.VolumeRow) string { return fmt.Sprint(r.Snapshots) }},
		{title: "PATH", get: func(r api.VolumeRow) string { return r.Path }},
		{title: "HOST", wide: !several, get: func(r api.VolumeRow) string { return r.Host }},
	})
}

// quotaText is a volume's quota, and whether it means anything there.
func quotaText(r api.VolumeRow) string {
	text := sizeOr(r.QuotaBytes, "none")
	if r.QuotaBytes > 0 && !r.QuotaKept {
		text += ", not kept"
	}
	return text
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
		{"Size", sizeOr(v.Bytes, "?")}, {"Quota", quotaText(v.VolumeRow)},
	}
	for _, s := range v.Snapshot {
		kv = append(kv, [2]string{"Snapshot", s.Name + ", " + clock(s.CreatedAt) + ", " + size(s.Bytes)})
	}
	return pairs(envOf(c), kv)
}

// volumeHost says which host is meant where several have a volume.
func volumeHost() *cli.StringFlag {
	return hostFlag("the `HOST` that has it; default is the one that does")
}

// volumeArg connects and takes the first argument apart. The client means the
// volume's host.
func volumeArg(c *cli.Context) (client *api.Client, volume, snapshot string, err error) {
	if client, err = connect(c); err != nil {
		return nil, "", "", err
	}
	on, volume, snapshot, err := volumeNamed(c, client, c.Args().First())
	if err != nil {
		client.Close()
		return nil, "", "", err
	}
	return on, volume, snapshot, nil
}

// volumeNamed finds the volume that VOLUME[@SNAPSHOT] means, and a client that
// means its host: WISH.JAIL.VOLUME, or its end where that is unambiguous.
func volumeNamed(c *cli.Context, client *api.Client, arg string) (on *api.Client, volume, snapshot string, err error) {
	want, snapshot, _ := strings.Cut(arg, "@")
	all, err := everyHost(c, client, func(ctx context.Context, on *api.Client) ([]api.VolumeRow, error) { return on.Volumes(ctx) })
	if err != nil {
		return nil, "", "", err
	}
	hosts := map[string][]string{} // of what is meant
	var names []string
	for _, a := range all {
		for _, r := range a.got {
			if r.Name == want || want != "" && strings.HasSuffix(r.Name, "."+want) {
				hosts[r.Name], on = append(hosts[r.Name], r.Host), a.on
			}
			names = append(names, r.Name)
		}
	}
	found := slices.Sorted(maps.Keys(hosts))
	if _, ok := hosts[want]; ok {
		found = []string{want}
	}
	switch {
	case len(found) == 0 && failedOf(all) != nil:
		return nil, "", "", fmt.Errorf("volume %s: no such volume on the hosts that answer\n%w", safe(want), failedOf(all))
	case len(found) == 0:
		hint := "rexctl volume ls"
		if near := nearest(want, names); near != "" {
			hint = "rexctl volume show " + near
		}
		return nil, "", "", &api.Error{Code: "not_found", Object: "volume " + safe(want), Message: "no such volume", Hint: hint}
	case len(found) > 1:
		return nil, "", "", usagef("volume %s could be %s\n  try: more of the name", safe(want), strings.Join(found[:min(len(found), 8)], ", "))
	case len(hosts[found[0]]) > 1:
		return nil, "", "", usagef("volume %s is on %s\n  try: --host HOST", found[0], strings.Join(hosts[found[0]], " and "))
	}
	if len(all) > 1 {
		on = client.On(hosts[found[0]][0])
	}
	return on, found[0], snapshot, nil
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
	type target struct {
		on               *api.Client
		volume, snapshot string
	}
	targets := map[string]target{}
	var names []string
	for _, arg := range c.Args().Slice() {
		on, volume, snapshot, err := volumeNamed(c, client, arg)
		if err != nil {
			return err
		}
		name := volume
		if snapshot != "" {
			name += "@" + snapshot
		}
		targets[name] = target{on, volume, snapshot}
		names = append(names, name)
	}
	if err := confirm(c, fmt.Sprintf("Destroy %s?", strings.Join(quoted(names), ", "))); err != nil {
		return err
	}
	return each(names, func(name string) error {
		var err error
		if t := targets[name]; t.snapshot != "" {
			_, err = t.on.DropVolumeSnapshot(c.Context, t.volume, t.snapshot)
		} else {
			_, err = t.on.RemoveVolume(c.Context, t.volume)
		}
		if err != nil {
			return err
		}
		return said(c, map[string]string{"removed": name}, "volume %s: removed", name)
	})
}
