package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
)

// A network that `network create` makes is a wish of its own beside those of
// files: NAME's is called network-NAME, and its source says who wrote it.
const (
	networkWishPrefix = "network-"
	networkWishSource = "rexctl network create"
)

func networkCreateCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "make a network, or change one that was made so", ArgsUsage: "NETWORK", Action: createNetwork,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "subnet", Usage: "`PREFIX` of its addresses, as 192.168.77.0/24 (default: the one it has, or a free /24 of 10.128.0.0/9)"},
			&cli.StringFlag{Name: "subnet6", Usage: "IPv6 `PREFIX`, as fd00:77::/64"},
			&cli.BoolFlag{Name: "nat", Usage: "its jails reach the outside through the router"},
			&cli.StringSliceFlag{Name: "allow", Usage: "`NETWORK` whose jails may connect to jails of this one, repeatable"},
			&cli.IntFlag{Name: "vlan", Usage: "it goes from host to host by this VLAN, `1..4094`"},
			&cli.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "of the wait until this host has made it; exit 3 when it is over"},
		},
	}
}

func networkRmCommand() *cli.Command {
	return &cli.Command{
		Name: "rm", Usage: "remove networks that network create made", ArgsUsage: "NETWORK...",
		Flags: []cli.Flag{yesFlag()}, Action: removeNetworks,
	}
}

// createNetwork is idempotent: the same command again changes nothing.
func createNetwork(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	rows, err := client.Networks(c.Context)
	if err != nil {
		return err
	}
	n, err := networkOf(c, rows)
	if err != nil {
		return err
	}
	w := &spec.Wish{Name: networkWishPrefix + n.Name, Source: networkWishSource, Networks: []spec.Network{n}}
	for _, r := range rows {
		if r.Name == n.Name && r.Wish != w.Name {
			return fmt.Errorf("network %s is declared by %s already, and not by network create\n  try: change it there and apply that again, or choose another name", n.Name, r.Wish)
		}
	}
	w.Normalize()
	if err := w.Validate(); err != nil {
		return usagef("%v", err)
	}
	if err := ownWish(c.Context, client, w); err != nil {
		return err
	}
	done, err := client.ApplyWish(c.Context, w, 0)
	if err != nil {
		return fmt.Errorf("create network %s: %w", n.Name, err)
	}
	if err := client.Settled(c.Context, done.Index, c.Duration("timeout")); err != nil {
		return &exit{exitPartial, fmt.Errorf("network %s is declared, but not made here: %w", n.Name, err)}
	}
	row, err := client.Network(c.Context, n.Name)
	if err != nil {
		return err
	}
	if len(done.Events) == 0 {
		return said(c, row, "network %s: no changes", n.Name)
	}
	return said(c, row, "network %s: %s, router %s at %s", n.Name, row.Subnet, n.Name+"-router", row.Gateway)
}

// ownWish refuses to replace a wish of the same name that somebody applied from
// a file: all that it declares would go.
func ownWish(ctx context.Context, client *api.Client, w *spec.Wish) error {
	rows, err := client.Wishes(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Name == w.Name && r.Source != w.Source {
			return fmt.Errorf("%s would replace what was applied from %s under that name\n  try: another name, or rexctl destroy %s", w.Name, safe(r.Source), w.Name)
		}
	}
	return nil
}

// networkOf is the network that the flags describe.
func networkOf(c *cli.Context, known []api.NetworkRow) (n spec.Network, err error) {
	n = spec.Network{Name: c.Args().First(), NAT: c.Bool("nat"), Allow: c.StringSlice("allow"), VLAN: c.Int("vlan")}
	if err := spec.ValidName(n.Name); err != nil {
		return n, usagef("%v", err)
	}
	if text := c.String("subnet"); text != "" {
		if n.Subnet, err = prefixFlag("subnet", text); err != nil {
			return n, err
		}
	} else {
		var taken []spec.KnownNetwork
		for _, r := range known {
			if r.Name == n.Name {
				n.Subnet = r.Subnet
			}
			taken = append(taken, spec.KnownNetwork{Name: r.Name, Subnet: r.Subnet, Wish: r.Wish})
		}
		if !n.Subnet.IsValid() {
			n.Subnet = spec.FreeSubnet(n.Name, taken)
		}
	}
	if text := c.String("subnet6"); text != "" {
		if n.Subnet6, err = prefixFlag("subnet6", text); err != nil {
			return n, err
		}
	}
	return n, nil
}

func prefixFlag(name, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, usagef("--%s %s: want ADDRESS/LENGTH, as 192.168.77.0/24", name, safe(text))
	}
	return p, nil
}

func removeNetworks(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, name := range c.Args().Slice() {
		row, err := client.Network(c.Context, name)
		if err != nil {
			return err
		}
		if row.Wish != networkWishPrefix+row.Name {
			return fmt.Errorf("network %s is declared by %s, and not by network create\n  try: take it out of there and apply that again", row.Name, row.Wish)
		}
	}
	names := c.Args().Slice()
	if err := confirm(c, fmt.Sprintf("Remove %s %s?", noun(len(names), "network"), strings.Join(names, ", "))); err != nil {
		return err
	}
	return each(names, func(name string) error {
		if _, err := client.DestroyWish(c.Context, networkWishPrefix+name, 0); err != nil {
			return fmt.Errorf("remove network %s: %w", name, err)
		}
		return said(c, nil, "network %s: removed", name)
	})
}
