package netd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
)

// planOf is what Set makes of networks.
func planOf(tb rapid.TB, nets []Network) []plannedNetwork {
	ok, errs := Config{Networks: nets}.normalize()
	if len(errs) > 0 {
		tb.Fatal(errs)
	}
	uplinks, err := planUplinks(freebsdLinkRange, ok, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	near := peers(ok)
	var plan []plannedNetwork
	for _, n := range ok {
		plan = append(plan, plannedNetwork{Network: n, Uplink: uplinks[n.ID], Publish: n.Publish, Peers: near[n.Name]})
	}
	return plan
}

func TestFreeBSDRulesLoadInEveryCombination(t *testing.T) {
	t.Parallel()
	d := &freebsd{o: Options{LinkRange: freebsdLinkRange}}
	rapid.Check(t, func(rt *rapid.T) {
		plan := planOf(rt, drawWish(rt).nets)
		outside := rapid.SampledFrom([]string{"", "em0", "vtnet1.10"}).Draw(rt, "outside")
		for _, n := range plan {
			for _, text := range []pfText{hostAnchor(n, outside, rapid.Bool().Draw(rt, "bridged")), routerText(n, d.others(n, plan))} {
				tables, err := freebsdtest.CheckPF(text.String())
				if err != nil {
					rt.Fatalf("%v in\n%s", err, text)
				}
				for _, table := range text.Tables {
					if len(table.Name) > 31 || !slices.Equal(tables[table.Name], strings.Split(joinAddrs(table.Addrs), ", ")) {
						rt.Fatalf("table %s: got %v, want %v", table.Name, tables[table.Name], table.Addrs)
					}
				}
				if text.Options != "" && !strings.HasPrefix(text.String(), "set ") {
					rt.Fatal("options do not come first")
				}
			}
		}
	})
}

// packet is the first one of a connection.
type packet struct {
	in       string // interface on which it comes in
	proto    string
	src, dst netip.Addr
	port     uint16
}

// filter walks the rules as pf does: the last one that matches decides, unless it says quick.
func filter(tb rapid.TB, rules string, p packet) (pass bool) {
	pass = true
	for l := range strings.Lines(rules) {
		w := strings.Fields(l)
		if len(w) == 0 || w[0] != "pass" && w[0] != "block" {
			continue
		}
		match, quick := true, false
		host := func(text string, a netip.Addr) bool {
			if text == "any" {
				return true
			}
			if x, err := netip.ParsePrefix(text); err == nil {
				return x.Contains(a)
			}
			return netip.MustParseAddr(text) == a
		}
		to := false
		for i := 1; i < len(w); i++ {
			switch w[i] {
			case "return", "in", "all", "keep", "no", "state":
			case "out":
				match = false
			case "quick":
				quick = true
			case "on":
				i++
				match = match && (w[i] == p.in || w[i] == freebsdGroup)
			case "inet", "inet6":
				match = match && p.src.Is4() == (w[i] == "inet")
			case "proto":
				i++
				match = match && w[i] == p.proto
			case "from":
				i++
				match = match && host(w[i], p.src)
			case "to":
				i++
				to = true
				match = match && host(w[i], p.dst)
			case "port":
				i++
				match = match && to && w[i] == fmt.Sprint(p.port)
			case "icmp-type", "icmp6-type":
				match = match && strings.HasPrefix(p.proto, "icmp")
				i = len(w)
			default:
				tb.Fatalf("%q: unknown word %s", l, w[i])
			}
		}
		if !match {
			continue
		}
		if pass = w[0] == "pass"; quick {
			return pass
		}
	}
	return pass
}

func TestFreeBSDRoutersLetThroughWhatIsAllowedAndNothingElse(t *testing.T) {
	t.Parallel()
	d := &freebsd{o: Options{LinkRange: freebsdLinkRange}}
	rapid.Check(t, func(rt *rapid.T) {
		plan := planOf(rt, drawWish(rt).nets)
		for _, a := range plan {
			rules := routerText(a, d.others(a, plan)).String()
			from := nth(a.Subnet, 7)
			tcp := func(in string, src, dst netip.Addr) packet { return packet{in, "tcp", src, dst, 5432} }
			check := func(what string, p packet, want bool) {
				if got := filter(rt, rules, p); got != want {
					rt.Fatalf("router of %s: %s (%+v): got %v, want %v with\n%s", a.Name, what, p, got, want, rules)
				}
			}
			check("the router itself", tcp(lanName(a.ID), from, a.Gateway()), true)
			check("the outside", tcp(lanName(a.ID), from, netip.MustParseAddr("203.0.113.9")), a.NAT)
			check("a forged source", tcp(lanName(a.ID), netip.MustParseAddr("203.0.113.9"), a.Gateway()), false)
			check("from outside to a jail", tcp(outName(a.ID), netip.MustParseAddr("203.0.113.9"), from), false)
			check("from outside to the router's DNS", packet{outName(a.ID), "udp", netip.MustParseAddr("203.0.113.9"), a.Uplink.Router, 53}, false)
			check("another router's uplink", tcp(lanName(a.ID), from, netip.MustParseAddr("198.19.200.9")), false)
			for _, b := range plan {
				if b.ID == a.ID {
					continue
				}
				to := nth(b.Subnet, 7)
				check("to "+b.Name, tcp(lanName(a.ID), from, to), slices.Contains(b.Allow, a.Name))
				check("in from "+b.Name, tcp(peerEnd(a.ID, b.ID), to, from), slices.Contains(a.Allow, b.Name))
				check("in from "+b.Name+" by the outside", tcp(outName(a.ID), to, from), false)
			}
		}
	})
}

func TestFreeBSDHostIsNoPathBetweenNetworks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		plan := planOf(rt, drawWish(rt).nets)
		var rules strings.Builder // of all anchors in turn: a quick rule in one ends them all
		for _, n := range plan {
			rules.WriteString(hostAnchor(n, "em0", false).String())
		}
		for _, a := range plan {
			from := nth(a.Subnet, 7)
			bridge := bridgeName(a.ID)
			for what, c := range map[string]struct {
				p    packet
				want bool
			}{
				"a jail to a jail of its own network": {packet{bridge, "tcp", from, nth(a.Subnet, 9), 80}, true},
				"a jail to the host":                  {packet{bridge, "tcp", from, a.HostAddr(), 22}, false},
				"a jail pings the host":               {packet{bridge, "icmp", from, a.HostAddr(), 0}, true},
				"a jail to the outside by the host":   {packet{bridge, "tcp", from, netip.MustParseAddr("203.0.113.9"), 80}, false},
				"the router to the outside":           {packet{uplinkName(a.ID), "tcp", a.Uplink.Router, netip.MustParseAddr("203.0.113.9"), 80}, a.NAT},
				"a jail's address on the uplink":      {packet{uplinkName(a.ID), "tcp", from, netip.MustParseAddr("203.0.113.9"), 80}, false},
			} {
				if got := filter(rt, rules.String(), c.p); got != c.want {
					rt.Fatalf("%s: %s: got %v, want %v with\n%s", a.Name, what, got, c.want, rules.String())
				}
			}
			for _, b := range plan {
				if b.ID != a.ID && filter(rt, rules.String(), packet{bridge, "tcp", from, nth(b.Subnet, 9), 80}) {
					rt.Fatalf("%s reaches %s by the host with\n%s", a.Name, b.Name, rules.String())
				}
			}
		}
	})
}

func TestFreeBSDMembersOfOnePortShareAPool(t *testing.T) {
	t.Parallel()
	ap := netip.MustParseAddrPort
	for _, c := range []struct {
		members []netip.AddrPort
		want    string
	}{
		{nil, "[] 0 false"},
		{[]netip.AddrPort{ap("10.0.0.4:80"), ap("10.0.0.3:80"), ap("10.0.0.3:80")}, "[10.0.0.3 10.0.0.4] 80 true"},
		{[]netip.AddrPort{ap("10.0.0.3:81"), ap("10.0.0.4:80"), ap("10.0.0.5:81")}, "[10.0.0.3 10.0.0.5] 81 true"},
		{[]netip.AddrPort{ap("10.0.0.3:81"), ap("10.0.0.4:80")}, "[10.0.0.4] 80 true"},
	} {
		table, port, ok := members(Publish{HostPort: 8080, Proto: "tcp", Members: c.members})
		if got := fmt.Sprint(table.Addrs, port, ok); got != c.want || table.Name != "pub_tcp_8080" {
			t.Errorf("%v: got %s %s, want %s", c.members, table.Name, got, c.want)
		}
	}
}

func TestFreeBSDActsOnNoAnchorButItsOwn(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"", ""}, {"t1", ""}, {"", "aaaa0001"}, {"t1", "../pf"}, {"t1/x", "aaaa0001"}, {"t1", "AAAA0001"}} {
		if a, err := newAnchor(c[0], c[1]); err == nil {
			t.Errorf("%q: got anchor %v", c, a)
		}
	}
	w := newBSD(t)
	if _, err := w.d.pfctl(t.Context(), pfTarget{}, "", "-F", "all"); err == nil || len(w.host.Calls()) != 0 {
		t.Errorf("pfctl ran without an anchor: %v", w.host.Calls())
	}
	if err := w.d.flush(t.Context(), "*"); err == nil || len(w.host.Calls()) != 0 {
		t.Errorf("pfctl ran on the anchor of no network: %v", w.host.Calls())
	}
}
