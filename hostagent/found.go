package hostagent

import (
	"context"
	"fmt"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
)

// FoundNetwork is a network as it was found on this host, not as it is wished.
type FoundNetwork struct {
	netd.View
	RouterRuns bool              // the router's process
	Jails      map[string]string // name by the 8 hex digits in View.Ports
	Err        error             // what could not be looked at; View is as far as it got
}

// FoundNetworks looks at the networks that State has, or at one: "" is all.
func (a *Agent) FoundNetworks(ctx context.Context, name string) ([]FoundNetwork, error) {
	s := a.c.Cluster.State()
	names := map[string]string{}
	for name, j := range s.Jails.All {
		names[shortID(j.UUID)] = name
	}
	running, err := a.routersRunning(ctx)
	if err != nil {
		return nil, err
	}
	var out []FoundNetwork
	for n, net := range s.Networks.All {
		if name != "" && name != n {
			continue
		}
		f := FoundNetwork{RouterRuns: running[routerID(net.ID)], Jails: names}
		if f.View, f.Err = a.c.Nets.Show(ctx, n); f.Err != nil {
			f.Network = n
		}
		out = append(out, f)
	}
	return out, nil
}

// routersRunning tells which routers' processes run, by jail id.
func (a *Agent) routersRunning(ctx context.Context) (map[string]bool, error) {
	list, err := a.c.Jails.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for routers: %w", err)
	}
	out := map[string]bool{}
	for _, st := range list {
		out[st.ID] = st.Phase == jail.Running
	}
	return out, nil
}
