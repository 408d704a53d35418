package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func snapshotCommand() *cli.Command {
	return &cli.Command{Name: "snapshot", Usage: "the cluster's State as a file: save, inspect, restore", Subcommands: []*cli.Command{
		{
			Name: "save", Usage: "write what the cluster declares to a file", ArgsUsage: "FILE",
			Description: "It holds wishes, networks, images, jails, addresses and certificates; no private key of a CA, no data of volumes and no images.\nKeep it secret: whoever has it can read the gossip of the cluster.",
			Flags:       []cli.Flag{&cli.BoolFlag{Name: "stale", Usage: "what this host has, also without a leader"}}, Action: saveSnapshot,
		},
		{Name: "inspect", Usage: "check a file and say what is in it", ArgsUsage: "FILE", Action: inspectSnapshot},
		{
			Name: "restore", Usage: "make what a file declares the truth", ArgsUsage: "FILE",
			Description: "Hosts, tokens, CAs and revocations stay what they are. Jails that are not in the file go; those that are the same go on running.",
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "foreign", Usage: "the file may be of another cluster: what it declares is taken over under this cluster's own CA"}, yesFlag(),
			},
			Action: restoreSnapshot,
		},
	}}
}

func saveSnapshot(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	path := c.Args().First()
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o600), renameio.IgnoreUmask(), renameio.WithTempDir(filepath.Dir(path)))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = f.Cleanup() }() // after a replace there is nothing to clean up
	info, err := client.SaveSnapshot(c.Context, f, c.Bool("stale"))
	if err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return showSnapshot(c, info)
}

func inspectSnapshot(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	f, err := os.Open(c.Args().First())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := api.ReadSnapshot(f, io.Discard)
	if err != nil {
		return err
	}
	return showSnapshot(c, info)
}

func showSnapshot(c *cli.Context, i api.SnapshotInfo) error {
	if structured(c) {
		return document(c, i)
	}
	return pairs(envOf(c), [][2]string{
		{"Cluster", i.Cluster}, {"Domain", i.Domain}, {"Index", fmt.Sprint(i.Index)}, {"Saved", i.SavedAt.Format(time.RFC3339) + " by " + i.SavedBy + ", version " + i.Version},
		{"Hosts", fmt.Sprint(i.Hosts)}, {"Networks", fmt.Sprint(i.Networks)}, {"Jails", fmt.Sprint(i.Jails)}, {"State", i.Hash}, {"Content", i.Content},
	})
}

func restoreSnapshot(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	f, err := os.Open(c.Args().First())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := api.ReadSnapshot(f, io.Discard)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return errors.Join(err, errors.New("nothing was changed"))
	}
	if err := confirm(c, fmt.Sprintf("Make what cluster %s declared at index %d the truth? Jails that are not among its %d go.", safe(info.Cluster), info.Index, info.Jails)); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	done, err := client.RestoreSnapshot(c.Context, f, c.Bool("foreign"))
	if err != nil {
		return err
	}
	if structured(c) {
		return document(c, done)
	}
	_, err = fmt.Fprintf(envOf(c).stdout, "restored at index %d: %d jails of cluster %s as of index %d\n  content %s\n", done.Index, info.Jails, safe(info.Cluster), info.Index, done.Content)
	return err
}
