package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func networkLsCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Usage: "list networks, and every interface in them as it is found on the hosts", ArgsUsage: "[NETWORK]", Action: networkLs,
		Flags: []cli.Flag{hostFlag("look at this `HOST` only; default is every one")},
	}
}

// networkLine is a network as it is declared, and as it was found on hosts.
type networkLine struct {
	api.NetworkRow
	Found []api.FoundNetwork `json:"found,omitempty"` // one a host
}

func networkLs(c *cli.Context) error {
	if err := wantArgs(c, 0, 1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	only := c.Args().First()
	rows, err := client.Networks(c.Context)
	if err != nil {
		return err
	}
	if only != "" {
		row, err := client.Network(c.Context, only)
		if err != nil {
			return err
		}
		rows = []api.NetworkRow{row}
	}
	lines := make([]networkLine, len(rows))
	for i, r := range rows {
		lines[i].NetworkRow = r
	}
	brief := c.Bool("quiet") || c.String("output") == "name" || c.String("at") != "" // nobody sees, or saw, interfaces
	if brief {
		return listNetworks(c, lines)
	}
	all, err := everyHost(c, client, func(ctx context.Context, on *api.Client) ([]api.FoundNetwork, error) {
		return on.FoundNetworks(ctx, only)
	})
	if err != nil {
		return err
	}
	for _, a := range all {
		for _, f := range a.got {
			for i := range lines {
				if lines[i].Name == f.Network {
					lines[i].Found = append(lines[i].Found, f)
				}
			}
		}
	}
	if lines, err = filtered(lines, c.StringSlice("filter")); err != nil {
		return err
	}
	if err := listNetworks(c, lines); err != nil || structured(c) {
		return cmp.Or(err, failedOf(all))
	}
	if err := listInterfaces(c, lines); err != nil {
		return err
	}
	return failedOf(all)
}

func listNetworks(c *cli.Context, rows []networkLine) error {
	return list(c, rows, func(r networkLine) string { return r.Name }, []column[networkLine]{
		{title: "NAME", get: func(r networkLine) string { return r.Name }},
		{title: "SUBNET", get: func(r networkLine) string { return r.Subnet.String() }},
		{title: "GATEWAY", get: func(r networkLine) string { return r.Gateway.String() }},
		{title: "NAT", get: func(r networkLine) string { return yes(r.NAT) }},
		{title: "LEASES", get: func(r networkLine) string { return fmt.Sprint(r.Leases) }},
		{title: "FREE", get: func(r networkLine) string { return fmt.Sprint(r.Free) }},
		{title: "PUBLISH", get: func(r networkLine) string { return published(r.NetworkRow) }},
		{title: "WISH", get: func(r networkLine) string { return r.Wish }},
		{title: "SUBNET6", wide: true, get: func(r networkLine) string { return r.Subnet6 }},
		{title: "ALLOW", wide: true, get: func(r networkLine) string { return strings.Join(r.Allow, ",") }},
		{title: "ID", wide: true, get: func(r networkLine) string { return r.ID }},
	})
}

// interfaceLine is one interface of a network.
type interfaceLine struct {
	network, host, bridge, name, mac, jail, state string
	addrs                                         []netip.Addr
}

// listInterfaces prints the second table: who is on each bridge.
func listInterfaces(c *cli.Context, lines []networkLine) error {
	var rows []interfaceLine
	for _, n := range lines {
		for _, f := range n.Found {
			rows = append(rows, interfacesOf(f)...)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	e := envOf(c)
	if _, err := fmt.Fprintln(e.stdout); err != nil {
		return err
	}
	return table(e, rows, []column[interfaceLine]{
		{title: "NETWORK", get: func(r interfaceLine) string { return r.network }},
		{title: "HOST", get: func(r interfaceLine) string { return r.host }},
		{title: "BRIDGE", get: func(r interfaceLine) string { return r.bridge }},
		{title: "INTERFACE", get: func(r interfaceLine) string { return r.name }},
		{title: "MAC", get: func(r interfaceLine) string { return r.mac }},
		{title: "JAIL", get: func(r interfaceLine) string { return r.jail }},
		{title: "ADDRESS", get: func(r interfaceLine) string { return joinedAddrs(r.addrs) }},
		{title: "STATE", get: func(r interfaceLine) string { return r.state }, mood: func(r interfaceLine) mood {
			if r.state == "up" {
				return good
			}
			return warning
		}},
	}, c.String("output") == "wide", !c.Bool("no-header"))
}

func interfacesOf(f api.FoundNetwork) []interfaceLine {
	if f.Error != "" {
		return []interfaceLine{{network: f.Network, host: f.Host, bridge: f.Bridge, state: f.Error}}
	}
	line := func(name, jail string, up bool, addrs ...netip.Addr) interfaceLine {
		state := "up"
		if !up {
			state = "down"
		}
		return interfaceLine{network: f.Network, host: f.Host, bridge: f.Bridge, name: name, jail: jail, addrs: addrs, state: state}
	}
	rows := []interfaceLine{line("bridge", "the host", f.Up, f.HostAddresses...), line("lan", f.Router.Name, f.Router.Running, f.Router.Addresses...)}
	if f.Router.Uplink.IsValid() {
		rows = append(rows, line("uplink", f.Router.Name, f.Router.Running, f.Router.Uplink))
	}
	if len(f.Router.Outside) > 0 {
		rows = append(rows, line("inet", f.Router.Name, f.Router.Running, f.Router.Outside...))
	}
	for _, p := range f.Ports {
		r := line(p.Interface, cmp.Or(p.Jail, "?"), p.Up, p.Addresses...)
		r.mac = p.MAC
		rows = append(rows, r)
	}
	for _, name := range f.Foreign {
		rows = append(rows, line(name, "(not ours)", true))
	}
	return rows
}

func joinedAddrs(addrs []netip.Addr) string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return strings.Join(out, ",")
}
