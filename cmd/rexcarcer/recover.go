package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/fsm"
)

const recoverWarning = `The quorum of this cluster is said to be lost for good. This host goes on alone:
  - all that is in its log counts from now on, also what was never acknowledged;
  - what only the other servers had is lost;
  - the other hosts are removed: to come back they must be wiped and join anew.
If more than half of the servers can still be started, start them instead.
`

// recoverCommand lets a lone survivor go on.
func recoverCommand() *cli.Command {
	return &cli.Command{
		Name: "recover", Usage: "go on alone where more than half of the servers are lost for good",
		Description: "The daemon of this host must not run. Example:\n\n   rexcarcer recover -yes && rexcarcer",
		Flags:       append([]cli.Flag{&cli.BoolFlag{Name: "yes", Usage: "it has been read, and is wanted"}}, daemonFlags()...),
		Action: func(c *cli.Context) error {
			o, err := optionsFrom(c)
			if err != nil {
				return usageError{err}
			}
			if err := o.complete(); err != nil {
				return err
			}
			if _, err := fmt.Fprint(c.App.ErrWriter, recoverWarning); err != nil {
				return err
			}
			if !c.Bool("yes") {
				return usageError{fmt.Errorf("nothing was changed: say -yes to go on")}
			}
			return recoverHost(o, c)
		},
	}
}

func recoverHost(o options, c *cli.Context) error {
	kept, err := readMember(o.DataDir)
	if err != nil {
		return err
	}
	if kept.Role != fsm.RoleServer {
		return fmt.Errorf("this host is a member without a vote: recover on a server")
	}
	// The generation comes first: from then on the others find nobody here.
	kept.Generation++
	if err := writeMember(o.DataDir, kept); err != nil {
		return err
	}
	advertise := ""
	if o.ClusterPort != 0 {
		advertise = hostPort(o.Advertise, o.ClusterPort)
	}
	var fatal error
	got, err := cluster.Recover(cluster.Config{
		Dir: o.DataDir, Advertise: advertise, Clock: time.Now,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Fatal: func(err error) { fatal = err },
	})
	if err == nil {
		err = fatal
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "recovered at index %d as generation %d; %d other hosts will be removed\nnext: start rexcarcer\n", got.Index, kept.Generation, max(got.Hosts-1, 0))
	return err
}

// outlive is a leader's duty after a recovery: the log learns the generation,
// and those that were left behind are removed.
func (d *daemon) outlive(ctx context.Context) error {
	s := d.node.State()
	if d.m.kept.Generation <= s.Cluster.Generation || s.Cluster.ID == "" {
		return nil
	}
	var cmds []fsm.Command
	for _, h := range s.Hosts.All {
		if h.ID != d.node.ID() {
			cmds = append(cmds, fsm.RemoveHost{Host: h.ID, Force: true, Why: "left behind by a recovery", Fence: d.fenceOf(h.ID)})
		}
	}
	proposeAll(ctx, d.node, "cluster", cmds, d.log)
	_, err := d.node.Propose(ctx, "cluster", fsm.RaiseGeneration{Generation: d.m.kept.Generation, Why: "recovered by host " + d.o.Name})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("raise the generation: %w", err)
	}
	return nil
}
