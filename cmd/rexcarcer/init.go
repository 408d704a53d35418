package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// initCommand prepares a host to be the first server of a new cluster.
func initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "prepare this host to be the first server of a new cluster",
		Description: "It makes the directories, the cluster's CA and this host's key, and says what to do next. To do it again does no harm.\n" +
			"Example:\n\n   rexcarcer init && rexcarcer",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "only say what this host lacks and how to get it, and change nothing"},
		}, daemonFlags()...),
		Action: func(c *cli.Context) error {
			if c.Bool("check") {
				return checkHost(c.Context, c.App.Writer, realHostCheck(), runtime.GOOS)
			}
			o, err := optionsFrom(c)
			if err != nil {
				return usageError{err}
			}
			if o.InetNIC != "" && o.Advertise == "" {
				if o.Advertise, err = nicAddress(o.InetNIC); err != nil {
					return err
				}
			}
			if err := o.complete(); err != nil {
				return err
			}
			return initHost(o, c)
		},
	}
}

func initHost(o options, c *cli.Context) error {
	if err := openDataDir(o.DataDir); err != nil {
		return err
	}
	for _, dir := range []string{o.RunDir, o.LogDir} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("prepare this host: %w", err)
		}
	}
	m, err := openMember(o)
	if err != nil {
		return err
	}
	if m.kept.Joined {
		return fmt.Errorf("this host is a member of cluster %s already: start rexcarcer, or remove %s to begin anew", m.cluster, o.DataDir)
	}
	if err := writeMember(o.DataDir, memberFile{Role: fsm.RoleServer, Generation: m.kept.Generation, InetNIC: o.InetNIC}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "cluster %s, first server %s (%s)\n  data       %s\n  CA         %s\n  reached at %s\nnext: start rexcarcer, then `rexctl token create --role server` for the second host\n",
		m.cluster, o.Name, m.id, o.DataDir, filepath.Join(o.DataDir, "pki", "ca.crt"), hostPort(o.Advertise, o.ClusterPort))
	return err
}
