package hostagent

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/netd"
)

// busyNets is a host on which some link-local subnets are in use.
type busyNets struct {
	netd.Sim
	busy map[netip.Prefix]bool
}

func (b *busyNets) Set(ctx context.Context, c netd.Config) error {
	for i, n := range c.Networks {
		if b.busy[n.Subnet] {
			c.Networks = append(c.Networks[:i:i], c.Networks[i+1:]...)
			if err := b.Sim.Set(ctx, c); err != nil {
				return err
			}
			return &netd.OverlapError{Network: n.Name, Subnet: n.Subnet, With: n.Subnet, Dev: "rb00000000"}
		}
	}
	return b.Sim.Set(ctx, c)
}

// Two daemons on one machine may draw the same subnet for their builds.
func TestABuildGoesAroundASubnetThatTheHostUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.host()
	first := newSlots(w.dir, "").number
	nets := &busyNets{busy: map[netip.Prefix]bool{buildSubnet(buildRange(""), first): true, buildSubnet(buildRange(""), first+1): true}}
	ctx, cancel := context.WithCancel(t.Context())
	a, err := New(ctx, Config{Host: "h1", Name: "host1", Dir: w.dir, RunDir: w.dir, LogDir: w.dir, Cluster: w.log,
		Jails: jail.NewSim(jail.SimConfig{}), Nets: nets, Store: w.store, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = a.Close()
	}()
	slot, err := a.buildSlot(ctx)
	if err != nil || !buildSubnet(buildRange(""), first+2).Contains(slot) {
		t.Fatalf("got %v, %v; want an address of %v", slot, err, buildSubnet(buildRange(""), first+2))
	}
	net, err := a.attachBuild(ctx, "step")
	if err != nil {
		t.Fatal(err)
	}
	if err := net.Close(); err != nil {
		t.Error(err)
	}
}

func TestBuildsUnderJailHaveAddressesThatFreeBSDForwards(t *testing.T) {
	t.Parallel()
	slot, err := newSlots(t.TempDir(), runtimeJail).take()
	if err != nil || slot.IsLinkLocalUnicast() || !netip.MustParsePrefix("198.18.0.0/16").Contains(slot) {
		t.Errorf("got %v, %v", slot, err)
	}
}
