package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rexcarcer/rexcarcer/dhcpd"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent"
)

// routerLAN is the interface of a router on the side of its network, as netd
// names it.
const routerLAN = "lan"

// lendDHCP opens the socket for DHCP in the router's namespace and lends it to
// the daemon. A router that cannot still serves names.
func lendDHCP(ctx context.Context, g *errgroup.Group, path string, logger *slog.Logger) {
	if path == "" {
		return
	}
	conn, err := dhcpd.Open(ctx, routerLAN)
	if err != nil {
		logger.Error("guests of this network get no addresses", "err", err)
		return
	}
	g.Go(func() error {
		defer conn.Close()
		return dhcpd.Lend(ctx, path, conn, logger)
	})
}

// serveDHCP answers the guests of each network on this host, by the socket
// that its router lends.
func (d *daemon) serveDHCP(ctx context.Context) error {
	if d.o.Runtime == "sim" {
		return nil // nobody would ask
	}
	metrics := dhcpd.NewMetrics(d.reg)
	return d.eachNetwork(ctx, func(ctx context.Context, network string) { d.serveGuests(ctx, network, metrics) })
}

func (d *daemon) serveGuests(ctx context.Context, network string, metrics *dhcpd.Metrics) {
	path := hostagent.DHCPSocketPath(d.o.RunDir, network)
	s := dhcpd.NewServer(dhcpd.Config{
		Network: network, Host: d.node.ID(), Log: d.node, Device: routerLAN,
		Clock: time.Now, Metrics: metrics, Logger: d.log,
	})
	err := os.MkdirAll(filepath.Dir(path), 0o711)
	if err == nil {
		err = dhcpd.Borrow(ctx, path, s.Run, d.log)
	}
	if err != nil && ctx.Err() == nil {
		d.log.Error("guests of a network get no addresses", "network", network, "err", err)
	}
}

// guestsEach is how often the leader looks for leases of guests that are over.
const guestsEach = 5 * time.Second

// endGuests is a leader's duty: what the clock ends has to be in the log.
func (d *daemon) endGuests(ctx context.Context) error {
	tick := time.NewTicker(guestsEach)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		var cmds []fsm.Command
		for _, c := range fsm.GuestsDue(d.node.State(), fsm.TimeOf(time.Now())) {
			cmds = append(cmds, c)
		}
		proposeAll(ctx, d.node, "scheduler", cmds, d.log)
	}
}
