package netsock

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/spec"
)

// scene is a cluster of three networks: front may connect to back, and nobody
// to far.
func scene(tb testing.TB, webs int) *stage.Stage {
	tb.Helper()
	st := stage.New()
	st.AddHost("host1", 64, 1<<40, nil)
	jail := func(name, network string) spec.Jail {
		return spec.Jail{Name: name, Image: "base", Socket: true, NICs: []spec.NIC{{Network: network}}}
	}
	w := spec.Wish{
		Name: "demo",
		Networks: []spec.Network{
			{Name: "front", Subnet: netip.MustParsePrefix("10.1.0.0/16")},
			{Name: "back", Subnet: netip.MustParsePrefix("10.2.0.0/24"), Open: []spec.Open{{From: "front", Ports: []string{"5432/tcp"}}}},
			{Name: "far", Subnet: netip.MustParsePrefix("10.3.0.0/24")},
		},
		Images: []spec.Image{{Name: "base", Key: stage.Key("base"), Base: "debian:bookworm"}},
		Jails:  []spec.Jail{jail("db", "back"), jail("hidden", "far")},
	}
	for i := range webs {
		w.Jails = append(w.Jails, jail(fmt.Sprintf("web%d", i), "front"))
	}
	w.Normalize()
	st.Must(fsm.ApplyWish{Wish: w})
	return st
}

func who(tb testing.TB, s *fsm.State, jail, network string) Who {
	tb.Helper()
	j, ok := s.Jails.Get(jail)
	if !ok {
		tb.Fatalf("no jail %s", jail)
	}
	return Who{Jail: fsm.JailName(jail), UUID: j.UUID, Network: network}
}

func TestAJailHearsWhoItIsAndWhomItReaches(t *testing.T) {
	t.Parallel()
	s := scene(t, 2).S
	w := who(t, s, "web0", "front")
	r := Answer(s, w, Request{V: 1, ID: 7, Type: TypeSelf})
	if r.Type != TypeSelf || r.ID != 7 || r.Self.Name != "web0" || r.Self.FQDN != "web0.front.rex.internal" ||
		r.Self.NICs[0].Address.String() != "10.1.0.3" || r.Self.Gateway.String() != "10.1.0.1" {
		t.Errorf("self: %+v", r.Self)
	}
	if got := strings.Join(r.Self.Reachable, " "); got != "back front" {
		t.Errorf("reachable: %s, want back front", got)
	}
	var names []string
	for _, p := range Answer(s, w, Request{V: 1, Type: TypePeers}).Peers {
		names = append(names, p.Network+"/"+p.Name)
	}
	if got := strings.Join(names, " "); got != "back/db front/web1" {
		t.Errorf("peers: %s", got)
	}
	if r := Answer(s, w, Request{V: 1, Type: TypePeer, Name: "db"}); len(r.Peers) != 1 || r.Peers[0].Address.String() != "10.2.0.3" {
		t.Errorf("peer db: %+v", r)
	}
}

func TestAJailHearsNothingOfNetworksThatItDoesNotReach(t *testing.T) {
	t.Parallel()
	s := scene(t, 2).S
	for _, name := range []string{"hidden", "nobody", "web0", ""} {
		if r := Answer(s, who(t, s, "web0", "front"), Request{V: 1, Type: TypePeer, Name: name}); r.Code != "not_found" {
			t.Errorf("web0 asks for %q: %+v", name, r)
		}
	}
	// The way is one way: front may connect to back, and not the other way round.
	if r := Answer(s, who(t, s, "db", "back"), Request{V: 1, Type: TypePeers}); len(r.Peers) != 0 {
		t.Errorf("db reaches %+v", r.Peers)
	}
}

func TestPeersComeInPagesThatLoseNone(t *testing.T) {
	t.Parallel()
	s := scene(t, 250).S
	w := who(t, s, "web0", "front")
	seen := map[string]bool{}
	after := ""
	for pages := 1; ; pages++ {
		r := Answer(s, w, Request{V: 1, Type: TypePeers, After: after})
		if b, err := json.Marshal(r); err != nil || len(b) > maxReply {
			t.Fatalf("page of %d bytes: %v", len(b), err)
		}
		for _, p := range r.Peers {
			if seen[p.Name] {
				t.Errorf("%s comes twice", p.Name)
			}
			seen[p.Name] = true
		}
		if after = r.Next; after == "" {
			break
		}
		if pages > 10 {
			t.Fatal("the pages do not end")
		}
	}
	if len(seen) != 250 { // 249 others and db
		t.Errorf("%d peers, want 250", len(seen))
	}
	if r := Answer(s, w, Request{V: 1, Type: TypePeers, After: "nonsense"}); len(r.Peers) != 0 && r.Type == TypeError {
		t.Errorf("after nonsense: %+v", r)
	}
}

func TestASocketOutlivesNoJail(t *testing.T) {
	t.Parallel()
	s := scene(t, 1).S
	w := who(t, s, "web0", "front")
	other := w
	other.UUID = "another"
	for what, w := range map[string]Who{
		"declared anew": other, "in another network": {w.Jail, w.UUID, "back"}, "gone": {"nobody", w.UUID, "front"}, "no network": {w.Jail, w.UUID, "nowhere"},
	} {
		for _, typ := range []string{TypeSelf, TypePeers, TypePeer, TypeLeave} {
			if r := Answer(s, w, Request{V: 1, Type: typ, Name: "db"}); r.Code != "gone" {
				t.Errorf("%s: %s: %+v", what, typ, r)
			}
		}
	}
}

func FuzzAnswer(f *testing.F) {
	st := scene(f, 3)
	w := who(f, st.S, "web0", "front")
	for _, seed := range []string{
		`{"v":1,"type":"self"}`, `{"v":1,"type":"peers","after":"front/10.1.0.3"}`, `{"v":1,"type":"peer","name":"db"}`,
		`{"v":2,"type":"self"}`, `{"v":1,"type":"leave"}`, `{"v":1,"type":"peers","after":"/"}`, `{"type":`, `[]`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if json.Unmarshal(b, &r) != nil {
			return
		}
		reply := Answer(st.S, w, r)
		out, err := json.Marshal(reply)
		if err != nil || len(out) > maxReply {
			t.Fatalf("%s: reply of %d bytes: %v", b, len(out), err)
		}
		for _, p := range reply.Peers {
			if p.Name == "hidden" || p.Name == "web0" {
				t.Fatalf("%s tells of %s", b, p.Name)
			}
		}
	})
}
