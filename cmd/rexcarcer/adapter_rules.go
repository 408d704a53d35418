package main

import (
	"context"

	"github.com/rexcarcer/rexcarcer/api"
)

func (h apiHost) NetworkRules(_ context.Context, network string) ([]api.NetworkRule, error) {
	rules, err := h.d.agent.Rules(network)
	out := make([]api.NetworkRule, len(rules))
	for i, r := range rules {
		out[i] = api.NetworkRule(r)
	}
	return out, err
}

func (h apiHost) ProxyMembers(ctx context.Context, network string) ([]api.ProxyMember, error) {
	stats, err := h.d.agent.ProxyStats(ctx, network)
	out := make([]api.ProxyMember, len(stats))
	for i, s := range stats {
		out[i] = api.ProxyMember{
			Port: s.Port, Member: s.Member, State: s.State, Sessions: s.Sessions, Requests: s.Requests,
			Good: s.Codes[2], Wrong: s.Codes[4], Failed: s.Codes[5], BytesIn: s.In, BytesOut: s.Out,
		}
	}
	return out, err
}
