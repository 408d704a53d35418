//go:build linux

package netd

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestJailsOfOneNetworkReachEachOtherAndTheHostReachesThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	mustSet(t, d, netA())
	j1 := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	j2 := mustAttach(t, d, jailWish("22222222", "alpha", "10.66.0.4"))
	w.serve(j1, "10.66.0.3:80", "one")
	wantAnswer(t, w.ask(j2, "10.66.0.3:80"), "one 10.66.0.4")
	wantAnswer(t, w.ask(w.host, "10.66.0.3:80"), "one 10.66.0.2")
	r, err := d.RouterNS("alpha")
	if err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, w.ask(r, "10.66.0.3:80"), "one 10.66.0.1")
}

func TestJailsReachTheOutsideBehindTheHostsAddressOnlyWithNAT(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	b := netB()
	b.NAT = false
	mustSet(t, d, netA(), b)
	ja := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	jb := mustAttach(t, d, jailWish("22222222", "beta", "10.67.0.3"))
	w.serve(w.outside, "192.0.2.1:80", "outside")
	wantAnswer(t, w.ask(ja, "192.0.2.1:80"), "outside 192.0.2.2")
	w.wantNoAnswer(jb, "192.0.2.1:80")
}

func TestJailsOfDifferentNetworksReachEachOtherOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a, b := netA(), netB()
	mustSet(t, d, a, b)
	ja := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	jb := mustAttach(t, d, jailWish("22222222", "beta", "10.67.0.3"))
	w.serve(ja, "10.66.0.3:80", "a")
	w.serve(jb, "10.67.0.3:80", "b")
	for _, to := range []string{"10.67.0.3:80", "10.67.0.1:80", "10.67.0.2:80", "10.66.0.2:80", "192.0.2.2:80"} {
		w.wantNoAnswer(ja, to)
	}
	w.wantNoAnswer(jb, "10.66.0.3:80")

	b.Allow = []string{"alpha"}
	mustSet(t, d, a, b)
	wantAnswer(t, w.ask(ja, "10.67.0.3:80"), "b 10.66.0.3")
	w.wantNoAnswer(jb, "10.66.0.3:80")
	a.Allow = []string{"beta"}
	mustSet(t, d, a, b)
	wantAnswer(t, w.ask(jb, "10.66.0.3:80"), "a 10.67.0.3")
	a.Allow, b.Allow = nil, nil
	mustSet(t, d, a, b)
	w.wantNoAnswer(ja, "10.67.0.3:80")
	w.wantNoAnswer(jb, "10.66.0.3:80")
}

func TestPublishedPortGoesToMembersInTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a := netA()
	a.NAT = false
	a.Publish = []Publish{{HostPort: 15432, Members: []netip.AddrPort{
		netip.MustParseAddrPort("10.66.0.3:5432"), netip.MustParseAddrPort("10.66.0.4:5433")}}}
	mustSet(t, d, a)
	j1 := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	j2 := mustAttach(t, d, jailWish("22222222", "alpha", "10.66.0.4"))
	w.serve(j1, "10.66.0.3:5432", "one")
	w.serve(j2, "10.66.0.4:5433", "two")
	for from, c := range map[string][2]string{
		"outside":          {w.outside, "192.0.2.2:15432"},
		"host by its name": {w.host, "192.0.2.2:15432"},
		"host by loopback": {w.host, "127.0.0.1:15432"},
	} {
		got := map[string]int{}
		for range 6 {
			answer := w.ask(c[0], c[1])
			got[answer[:3]]++
			if from == "outside" && answer[4:] != "192.0.2.1" {
				t.Errorf("the member saw %q, want the client's own address", answer)
			}
		}
		if got["one"] != 3 || got["two"] != 3 {
			t.Errorf("from %s: got %v, want each member 3 times", from, got)
		}
	}
	w.wantNoAnswer(w.outside, "10.66.0.3:5432")

	a.Publish[0].Members = a.Publish[0].Members[1:]
	mustSet(t, d, a)
	for range 3 {
		wantAnswer(t, w.ask(w.outside, "192.0.2.2:15432"), "two 192.0.2.1")
	}
	a.Publish[0].Members = nil
	mustSet(t, d, a)
	w.wantNoAnswer(w.outside, "192.0.2.2:15432")
	w.wantNoAnswer(w.host, "127.0.0.1:15432")
}

func TestProbeLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	before := w.state()
	if err := d.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := w.state(); after != before {
		t.Errorf("changed: %s", diff(before, after))
	}
}

func TestShowTellsWhatIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	mustSet(t, d, netA())
	mustAttach(t, d, jailWish("22222222", "alpha", "10.66.0.4"))
	mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	w.in(w.host, func() error {
		br, err := netlink.LinkByName("rbaaaa00010")
		if err != nil {
			return err
		}
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "tap0", MasterIndex: br.Attrs().Index}, PeerName: "tap1"})
	})
	v, err := d.Show(t.Context(), "alpha")
	if err != nil {
		t.Fatal(err)
	}
	if v.Bridge != "rbaaaa00010" || !slices.Equal(v.Foreign, []string{"tap0"}) || len(v.Ports) != 2 ||
		!slices.Equal(v.Host, []netip.Addr{netip.MustParseAddr("10.66.0.2")}) || !slices.Equal(v.Router, []netip.Addr{netip.MustParseAddr("10.66.0.1")}) {
		t.Errorf("got %+v", v)
	}
	p := v.Ports[0]
	one := []netip.Addr{netip.MustParseAddr("10.66.0.3")}
	if p.Jail != "11111111" || p.MAC != MACOf("11111111", 0) || !slices.Equal(p.Addrs, one) || !slices.Equal(p.Pinned, one) {
		t.Errorf("got %+v", p)
	}
	if !strings.Contains(v.Rules, "chain between") {
		t.Errorf("got rules %q", v.Rules)
	}
	w.in(w.host, func() error {
		tap, err := netlink.LinkByName("tap0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(tap)
	})
	if _, err := d.Show(t.Context(), "beta"); err == nil {
		t.Error("a network that was not set is shown")
	}
}

func TestWhatWasRemovedByHandComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a, b := netA(), netB()
	mustSet(t, d, a, b)
	jails := []NSConfig{jailWish("11111111", "alpha", "10.66.0.3"), jailWish("22222222", "beta", "10.67.0.3")}
	ja, jb := mustAttach(t, d, jails[0]), mustAttach(t, d, jails[1])
	w.serve(ja, "10.66.0.3:80", "a")
	w.serve(w.outside, "192.0.2.1:80", "outside")

	w.sh(w.host, "nft", "flush", "ruleset")
	r, _ := d.RouterNS("alpha")
	w.sh(r, "nft", "flush", "ruleset")
	w.sh(w.host, "ip", "link", "del", bridgeName(a.ID))
	w.sh(w.host, "ip", "link", "del", uplinkName(b.ID))
	if _, err := d.Attach(t.Context(), jailWish("33333333", "alpha", "10.66.0.5")); err == nil {
		t.Error("a jail was attached to a bridge that is gone")
	}
	if _, err := os.Stat(d.jailPath("33333333")); err == nil {
		t.Error("the failed jail's namespace is left")
	}
	mustSet(t, d, a, b)
	mustAttach(t, d, jails[0])
	mustAttach(t, d, jails[1])
	wantAnswer(t, w.ask(w.host, "10.66.0.3:80"), "a 10.66.0.2")
	wantAnswer(t, w.ask(ja, "192.0.2.1:80"), "outside 192.0.2.2")
	wantAnswer(t, w.ask(jb, "192.0.2.1:80"), "outside 192.0.2.2")
	w.wantNoAnswer(jb, "10.66.0.3:80")
}
