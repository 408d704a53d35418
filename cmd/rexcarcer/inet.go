package main

import (
	"cmp"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/netd/uplink"
)

func inetFlags(str func(name, value, usage string) cli.Flag) []cli.Flag {
	return []cli.Flag{
		str("inet-nic", "", "`NIC` to the outside: routers of networks with NAT get an interface and, by DHCP, an address of their own on it; with init it is remembered, and its address is the one that other members reach this host by (default: routers go by this host)"),
	}
}

// inetNIC is the NIC to the outside: what the daemon is told now, or init was.
func (d *daemon) inetNIC() string {
	if d.o.Runtime != "linux" {
		return ""
	}
	return cmp.Or(d.o.InetNIC, d.m.kept.InetNIC)
}

// uplinkCommand is what runs beside a router that has an interface outside.
// Its flags are between the daemon and itself, and no promise to anybody.
func uplinkCommand() *cli.Command {
	return &cli.Command{
		Name: "uplink", Hidden: true, Usage: "(internal) keep an address by DHCP on a router's interface outside",
		Flags: []cli.Flag{&cli.StringFlag{Name: "nic", Required: true}},
		Action: func(c *cli.Context) error {
			logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
			if err := confine(); err != nil {
				logger.Warn("the DHCP client keeps system calls that it does not need", "err", err)
			}
			return uplink.Run(c.Context, c.String("nic"), logger)
		},
	}
}
