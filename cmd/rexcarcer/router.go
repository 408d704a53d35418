package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/rexcarcer/rexcarcer/dnsd"
)

// routerCommand is what runs in a NAME-router jail. Its flags are between the
// daemon and itself, and no promise to anybody.
func routerCommand() *cli.Command {
	return &cli.Command{
		Name: "router", Hidden: true, Usage: "(internal) serve DNS, DHCP and syslog in a network's router namespace",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "network", Required: true},
			&cli.StringFlag{Name: "feed", Required: true},
			&cli.StringFlag{Name: "dhcp"},
			&cli.StringFlag{Name: "syslog"},
			&cli.StringSliceFlag{Name: "listen", Required: true},
			&cli.StringSliceFlag{Name: "clients"},
			&cli.StringSliceFlag{Name: "forward"},
		},
		Action: func(c *cli.Context) error {
			return runRouter(c.Context, c.String("feed"), c.String("dhcp"), c.String("syslog"), c.StringSlice("listen"), c.StringSlice("clients"), c.StringSlice("forward"))
		},
	}
}

func runRouter(ctx context.Context, feed, dhcp, syslog string, listen, clients, forward []string) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	addrs, err := parseResolvers(listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	resolvers, err := parseResolvers(forward)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	var own []netip.Prefix
	for _, text := range clients {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("clients: %w", err)
		}
		own = append(own, p)
	}
	h := dnsd.NewHandler(func(a netip.Addr) bool {
		for _, p := range own {
			if p.Contains(a.Unmap()) {
				return true
			}
		}
		return false
	}, nil)
	s, err := dnsd.Listen(ctx, addrs, h, dnsd.NewForwarder(resolvers, nil), logger)
	if err != nil {
		return err
	}
	if err := confine(); err != nil { // names matter more
		logger.Warn("the router keeps system calls that it does not need", "err", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return dnsd.Follow(ctx, feed, h.SetZone, logger) })
	g.Go(func() error { return s.Run(ctx) })
	lendDHCP(ctx, g, dhcp, logger)
	takeSyslog(ctx, g, syslog, addrs, logger)
	return g.Wait()
}
