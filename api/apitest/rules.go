package apitest

import (
	"context"

	"github.com/rexcarcer/rexcarcer/api"
)

// NetworkRules implements api.Host: two of a network's rules.
func (h *Host) NetworkRules(_ context.Context, network string) ([]api.NetworkRule, error) {
	out := []api.NetworkRule{{Where: "bridge", From: "a jail", To: "everybody", What: "answers of a DHCP server", Then: "is dropped", Why: "only the router answers DHCP"}}
	n, _ := h.log.State().Networks.Get(network)
	for _, p := range n.Publish {
		out = append(out, api.NetworkRule{
			Where: "router", From: "whoever reaches this host", To: "nobody", What: "tcp of this host", Then: "is refused: no healthy member", Why: "publish " + p.Name,
		})
	}
	return out, nil
}

// ProxyMembers implements api.Host: one member for each published port.
func (h *Host) ProxyMembers(_ context.Context, network string) (out []api.ProxyMember, _ error) {
	n, _ := h.log.State().Networks.Get(network)
	for _, p := range n.Publish {
		out = append(out, api.ProxyMember{Port: p.Port, Member: "10.66.0.3:80", State: "up", Requests: 3, Good: 2, Wrong: 1, BytesIn: 300, BytesOut: 4096})
	}
	return out, nil
}
