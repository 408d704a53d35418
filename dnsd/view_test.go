package dnsd

import (
	"net/netip"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/spec"
)

// TestANetworkKnowsTheNamesOfThoseThatOpenPortsToIt: who may connect to some
// ports finds the jail behind them; the other way round nothing is known.
func TestANetworkKnowsTheNamesOfThoseThatOpenPortsToIt(t *testing.T) {
	t.Parallel()
	st := stage.New()
	st.AddHost("host1", 4, 8<<30, nil)
	jail := func(name string) spec.Jail {
		return spec.Jail{Name: name, Image: "base", NICs: []spec.NIC{{Network: name}}}
	}
	w := spec.Wish{
		Name: "demo",
		Networks: []spec.Network{
			{Name: "front", Subnet: netip.MustParsePrefix("10.1.0.0/24")},
			{Name: "back", Subnet: netip.MustParsePrefix("10.2.0.0/24"), Open: []spec.Open{{From: "front", Ports: []string{"5432/tcp"}}}},
		},
		Images: []spec.Image{{Name: "base", Key: stage.Key("base"), Base: "debian:bookworm"}},
		Jails:  []spec.Jail{jail("front"), jail("back")},
	}
	w.Normalize()
	st.Must(fsm.ApplyWish{Wish: w})
	knows := func(network, name string) bool {
		for _, r := range BuildTable(st.S, network).Records {
			if r.Name == name && r.Type == "A" {
				return true
			}
		}
		return false
	}
	if !knows("front", "back.back.rex.internal") {
		t.Error("front does not know back, which opens a port to it")
	}
	if knows("back", "front.front.rex.internal") {
		t.Error("back knows front, which opens nothing")
	}
}
