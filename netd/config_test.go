package netd

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNetworksThatCannotBeAreNamedAndTheOthersStay(t *testing.T) {
	t.Parallel()
	ok := netOf("ok", "00000001", "10.0.0.0/24")
	for name, c := range map[string]struct {
		bad  Network
		want string
	}{
		"id":             {netOf("bad", "0000000g", "10.1.0.0/24"), "8 hex digits"},
		"name":           {netOf("bad;drop", "00000002", "10.1.0.0/24"), "not a name"},
		"no subnet":      {Network{Name: "bad", ID: "00000002"}, "not an IPv4 prefix"},
		"too small":      {netOf("bad", "00000002", "10.1.0.0/31"), "not an IPv4 prefix"},
		"v6 as subnet":   {netOf("bad", "00000002", "fd00::/64"), "not an IPv4 prefix"},
		"overlap":        {netOf("zzz", "00000002", "10.0.0.128/25"), "overlaps the one of network ok"},
		"same id":        {netOf("zzz", "00000001", "10.1.0.0/24"), "is there twice"},
		"mtu":            {Network{Name: "bad", ID: "00000002", Subnet: mustP("10.1.0.0/24"), MTU: 99}, "mtu 99"},
		"port 0":         {Network{Name: "bad", ID: "00000002", Subnet: mustP("10.1.0.0/24"), Publish: []Publish{{}}}, "publish 0"},
		"proto":          {Network{Name: "bad", ID: "00000002", Subnet: mustP("10.1.0.0/24"), Publish: []Publish{{HostPort: 1, Proto: "icmp"}}}, "not a tcp or udp"},
		"foreign member": {Network{Name: "bad", ID: "00000002", Subnet: mustP("10.1.0.0/24"), Publish: []Publish{{HostPort: 1, Members: []netip.AddrPort{netip.MustParseAddrPort("10.2.0.3:1")}}}}, "is not in"},
	} {
		nets, errs := Config{Networks: []Network{c.bad, ok}}.normalize()
		if len(nets) != 1 || nets[0].Name != "ok" || len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) {
			t.Errorf("%s: got %v and %v, want ok alone and an error with %q", name, nets, errs, c.want)
		}
	}
}

func TestPortIsPublishedByOneNetworkOnly(t *testing.T) {
	t.Parallel()
	a, b := netOf("a", "00000001", "10.0.0.0/24"), netOf("b", "00000002", "10.1.0.0/24")
	a.Publish = []Publish{{HostPort: 80}}
	b.Publish = []Publish{{HostPort: 80, Proto: "tcp"}, {HostPort: 80, Proto: "udp"}}
	nets, errs := Config{Networks: []Network{b, a}}.normalize()
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "80/tcp is published by network a already") {
		t.Errorf("got %v", errs)
	}
	if len(nets) != 2 || len(nets[1].Publish) != 1 || nets[1].Publish[0].Proto != "udp" {
		t.Errorf("got %+v, want udp alone left in b", nets)
	}
}

func netOf(name, id, subnet string) Network {
	return Network{Name: name, ID: id, Subnet: mustP(subnet)}
}

func mustP(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestUplinksAreKeptAndNeverShared(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		linkRange := netip.PrefixFrom(netip.MustParseAddr("169.254.192.0"), rapid.IntRange(24, 28).Draw(t, "bits"))
		ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[0-9a-f]{8}`), 0, 6, rapid.ID).Draw(t, "ids")
		var nets []Network
		for _, id := range ids {
			nets = append(nets, Network{Name: "n" + id, ID: id})
		}
		inUse := []used{{Prefix: mustP("169.254.0.0/16")}, {Prefix: mustP("169.254.192.2/32")}, {Prefix: mustP("169.254.192.1/32")}}
		first, err := planUplinks(linkRange, nets, nil, inUse)
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]netip.Addr{}
		seen := map[netip.Addr]string{}
		for id, u := range first {
			for _, a := range []netip.Addr{u.Host, u.Router, u.Host6, u.Router6} {
				if seen[a] != "" {
					t.Fatalf("%v belongs to %s and %s", a, seen[a], id)
				}
				seen[a] = id
			}
			if !linkRange.Contains(u.Host) || u.Router != u.Host.Next() || netip.PrefixFrom(u.Host, 31).Masked().Addr() != u.Host {
				t.Fatalf("%v and %v are no pair in %v", u.Host, u.Router, linkRange)
			}
			if netip.PrefixFrom(u.Host, 30).Contains(netip.MustParseAddr("169.254.192.1")) {
				t.Fatalf("%v is in use on the host", u.Host)
			}
			have[id] = u.Host
		}
		nets = append([]Network{{Name: "new", ID: "ffffffff"}}, nets...)
		if _, taken := first["ffffffff"]; taken {
			return
		}
		second, err := planUplinks(linkRange, nets, have, inUse)
		if err != nil {
			return // full
		}
		for id, u := range first {
			if second[id] != u {
				t.Fatalf("%s moved from %v to %v", id, u, second[id])
			}
		}
	})
}

func TestUplinkRangeMayBeFull(t *testing.T) {
	t.Parallel()
	_, err := planUplinks(mustP("169.254.192.0/30"), []Network{{Name: "a", ID: "1"}, {Name: "b", ID: "2"}, {Name: "c", ID: "3"}}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "no free uplink addresses") {
		t.Errorf("got %v", err)
	}
}

func TestMarksSurviveTheAlias(t *testing.T) {
	t.Parallel()
	for _, m := range []mark{
		{Instance: "a1", Network: "aaaa0001", Jail: markBridge},
		{Instance: "a1", Network: "aaaa0001", Jail: "11111111", MAC: MACOf("11111111", 3), Addr: netip.MustParseAddr("10.0.0.3")},
		{Instance: "a1", Network: "aaaa0001", Jail: "11111111", MAC: MACOf("11111111", 3), Addr: netip.MustParseAddr("10.0.0.3"), Addr6: netip.MustParseAddr("fd00::3")},
	} {
		if got, ok := parseMark(m.String()); !ok || got != m {
			t.Errorf("%q: got %+v, %v", m, got, ok)
		}
		if len(m.String()) > 255 {
			t.Errorf("%q is too long for an alias", m)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	for _, s := range []string{"", "rexcarcer:", "rexcarcer:a:b:c", "rexcarcer:a:b:c 02:00:00:00:00:01 10.0.0.1 fd00::1", "rexcarcer:a:b:c x y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, ok := parseMark(s); ok {
			if again, ok := parseMark(m.String()); !ok || again != m {
				t.Errorf("%q: %+v, then %+v", s, m, again)
			}
		}
	})
}

func TestInterfaceNamesFit(t *testing.T) {
	t.Parallel()
	for _, n := range []string{bridgeName("ffffffff"), routerPort("ffffffff"), uplinkName("ffffffff"), peerName("ffffffff"), jailPort("ffffffff", 9)} {
		if len(n) > 15 {
			t.Errorf("%s has %d characters, Linux allows 15", n, len(n))
		}
	}
}
