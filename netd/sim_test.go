package netd

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
)

func TestSimRemembersWishesAndFailsWhenTold(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	s := &Sim{Fail: func(op, id string) error {
		if op == "attach" && id == "00000002" {
			return boom
		}
		return nil
	}}
	n := Network{Name: "alpha", ID: "aaaa0001", Subnet: mustP("10.66.0.0/24")}
	if err := s.Set(t.Context(), Config{Networks: []Network{n}}); err != nil {
		t.Fatal(err)
	}
	jail := func(id, addr string) NSConfig {
		return NSConfig{ID: id, Name: id, Ports: []Port{{Network: "alpha", Addr: netip.MustParseAddr(addr)}}}
	}
	if _, err := s.Attach(t.Context(), jail("00000001", "10.66.0.3")); err != nil {
		t.Error(err)
	}
	if _, err := s.Attach(t.Context(), jail("00000002", "10.66.0.4")); !errors.Is(err, boom) {
		t.Errorf("got %v, want boom", err)
	}
	if _, err := s.Attach(t.Context(), jail("00000003", "10.66.0.2")); err == nil {
		t.Error("the host's address was given to a jail")
	}
	if ids, _ := s.List(t.Context()); !slices.Equal(ids, []string{"00000001"}) {
		t.Errorf("got %v", ids)
	}
	if v, err := s.Show(t.Context(), "alpha"); err != nil || len(v.Ports) != 1 || v.Ports[0].MAC != MACOf("00000001", 0) {
		t.Errorf("got %+v, %v", v, err)
	}
	if err := s.Sweep(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if ids, _ := s.List(t.Context()); len(ids) != 0 {
		t.Errorf("got %v, want none", ids)
	}
	if _, err := s.RouterNS("beta"); err == nil {
		t.Error("a network that was not set has a router")
	}
	want := []string{"set", "attach 00000001", "attach 00000003", "sweep"}
	if got := s.Calls(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
