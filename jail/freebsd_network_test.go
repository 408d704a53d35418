package jail

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/netd"
)

// TestFreeBSDJailLivesInTheNetworkThatWasMadeForIt puts both drivers on one modelled host: the network is there before the jail
// and outlives it, and takes what is left of it along.
func TestFreeBSDJailLivesInTheNetworkThatWasMadeForIt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	m := newMachine(t)
	nets, err := netd.NewFreeBSD(netd.Options{Instance: "t1", RunDir: filepath.Join(m.dir, "net"), Runner: m.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nets.Close() })
	before := m.clean()
	c := netd.Config{Networks: []netd.Network{{Name: "alpha", ID: "aaaa0001", Subnet: netip.MustParsePrefix("10.66.0.0/24"), NAT: true}}}
	if err := nets.Set(ctx, c); err != nil {
		t.Fatal(err)
	}
	s := m.spec("web")
	wish := netd.NSConfig{ID: "99aabbcc", Name: "web", Ports: []netd.Port{{Network: "alpha", Addr: netip.MustParseAddr("10.66.0.7")}}}
	for range 2 { // a Run, and the next one
		if s.NetNS, err = nets.Attach(ctx, wish); err != nil {
			t.Fatal(err)
		}
		if _, err := m.d.Start(ctx, s); err != nil {
			t.Fatal(err)
		}
		state := m.State()
		for _, want := range []string{"rexn-t1-99aabbcc.web path=", "rexn-t1-99aabbcc rj99aabbcc0 up mtu=1500 10.66.0.7/24"} {
			if !strings.Contains(state, want) {
				t.Fatalf("no %q in\n%s", want, state)
			}
		}
		m.boot() // a new daemon finds the jail by its driver, the network by the other
		if list, err := m.d.List(ctx); err != nil || len(list) != 1 || list[0].Phase != Running {
			t.Fatalf("got %+v, %v", list, err)
		}
		if ids, err := nets.List(ctx); err != nil || len(ids) != 1 || ids[0] != wish.ID {
			t.Fatalf("got %v, %v", ids, err)
		}
		if _, err := m.d.Stop(ctx, s.ID, 0); err != nil {
			t.Fatal(err)
		}
		if err := m.d.Remove(ctx, s.ID); err != nil {
			t.Fatal(err)
		}
		if err := nets.Detach(ctx, wish.ID); err != nil {
			t.Fatal(err)
		}
	}
	router, err := nets.RouterNS("alpha")
	if err != nil {
		t.Fatal(err)
	}
	r := m.spec("alpha-router")
	r.NetNS = router
	if _, err := m.d.Start(ctx, r); err != nil {
		t.Fatal(err)
	}
	if err := m.d.Remove(ctx, r.ID); err != nil {
		t.Fatal(err)
	}
	if err := nets.Teardown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := m.clean(); got != before {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}
}
