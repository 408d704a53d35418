package main

import (
	"context"
	"fmt"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
)

func (h apiHost) FoundNetworks(ctx context.Context, network string) ([]api.FoundNetwork, error) {
	found, err := h.d.agent.FoundNetworks(ctx, network)
	if err != nil {
		return nil, err
	}
	out := []api.FoundNetwork{}
	for _, f := range found {
		n := api.FoundNetwork{
			Network: f.Network, Bridge: f.Bridge, Up: f.Up, MTU: f.MTU, HostAddresses: f.Host, Foreign: f.Foreign, Ports: []api.FoundPort{},
			Router: api.FoundRouter{Name: f.Network + "-router", Running: f.RouterRuns, Addresses: f.Router, Uplink: f.Uplink, Outside: f.Inet},
		}
		if f.Err != nil {
			n.Error = f.Err.Error()
		}
		for _, p := range f.Ports {
			n.Ports = append(n.Ports, api.FoundPort{
				Interface: fmt.Sprintf("eth%d", p.NIC), Link: p.Link, MAC: p.MAC.String(), Jail: f.Jails[p.Jail],
				Addresses: p.Addrs, Pinned: p.Pinned, Up: p.Up,
			})
		}
		out = append(out, n)
	}
	return out, nil
}

func (h apiHost) JailPath(ctx context.Context, name fsm.JailName) (api.JailPath, error) {
	p, err := h.d.agent.Path(ctx, name)
	if err != nil {
		return api.JailPath{}, err
	}
	out := api.JailPath{Steps: []api.PathStep{}, Differences: append([]string{}, p.Differences...)}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, api.PathStep(s))
	}
	return out, nil
}

func (h apiHost) NetworkConsole(ctx context.Context, network, image string, r api.ExecRequest, s api.ExecStreams) (int, error) {
	return enter(ctx, r, s, func(ctx context.Context, x jail.Exec) (int, error) {
		return h.d.agent.RouterConsole(ctx, network, image, x)
	})
}
