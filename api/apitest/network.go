package apitest

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// FoundNetworks implements api.Host: all is as it is wished.
func (h *Host) FoundNetworks(_ context.Context, network string) ([]api.FoundNetwork, error) {
	s, out := h.log.State(), []api.FoundNetwork{}
	for name, n := range s.Networks.All {
		if network != "" && name != network {
			continue
		}
		f := api.FoundNetwork{
			Network: name, Bridge: "rb000000010", Up: true, MTU: 1500, HostAddresses: []netip.Addr{n.HostAddr}, Ports: []api.FoundPort{},
			Router: api.FoundRouter{Name: name + "-router", Running: true, Addresses: []netip.Addr{n.Gateway}, Uplink: netip.MustParseAddr("169.254.192.1")},
		}
		for jail, run := range s.Runs.All {
			j, ok := s.Jails.Get(jail)
			if !ok || run.Phase != fsm.Running {
				continue
			}
			for i, a := range j.Addrs {
				if a.Network == name {
					f.Ports = append(f.Ports, api.FoundPort{
						Interface: fmt.Sprintf("eth%d", i), Link: fmt.Sprintf("rh%s%d", j.UUID[:8], i), MAC: a.MAC, Jail: jail,
						Addresses: []netip.Addr{a.Addr}, Pinned: []netip.Addr{a.Addr}, Up: true,
					})
				}
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// JailPath implements api.Host: a short way, which "sick" jails have lost.
func (h *Host) JailPath(_ context.Context, jail fsm.JailName) (api.JailPath, error) {
	j, _ := h.log.State().Jails.Get(string(jail))
	p := api.JailPath{Steps: []api.PathStep{}, Differences: []string{}}
	for i, a := range j.Addrs {
		p.Steps = append(p.Steps, api.PathStep{Where: "jail", What: "interface", Found: fmt.Sprintf("eth%d %s %s, up", i, a.MAC, a.Addr)})
	}
	if len(jail) > 3 && jail[:4] == "sick" {
		p.Differences = append(p.Differences, "the jail has no default route to a router")
	}
	return p, nil
}

// NetworkConsole implements api.Host: the network stands for the jail.
func (h *Host) NetworkConsole(ctx context.Context, network, _ string, r api.ExecRequest, s api.ExecStreams) (int, error) {
	return h.Exec(ctx, fsm.JailName(network+"-router"), r, s)
}
