package hostagent

import (
	"context"
	"fmt"

	"github.com/rexcarcer/rexcarcer/hostagent/proxy"
	"github.com/rexcarcer/rexcarcer/netd"
)

// Rules are the effective rules of a network on this host, in words.
func (a *Agent) Rules(name string) ([]netd.Rule, error) { return a.c.Nets.Rules(name) }

// ProxyStats is what the proxy of a network counts on this host; nothing if it has none.
func (a *Agent) ProxyStats(ctx context.Context, name string) ([]proxy.Stat, error) {
	for _, n := range NetworksOf(a.c.Cluster.State()).Networks {
		if n.Name != name || !proxied(n) || a.c.Router == nil {
			continue
		}
		stats, err := proxy.New(a.proxyDir(n.ID)).Stats(ctx)
		if err != nil {
			return nil, fmt.Errorf("network %s: %w", name, err)
		}
		return stats, nil
	}
	return nil, nil
}
