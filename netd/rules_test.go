package netd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestRules shows the rules for networks described like
//
//	alpha aaaa0001 10.66.0.0/24 nat publish=15432/tcp:10.66.0.3:5432,10.66.0.4:5432 allow=beta
//	pin rh111111110 02:00:11:11:11:11 10.66.0.3
//	fence eth0 eth1
func TestRules(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/rules", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			nets, pins, links := parseRulesInput(t, td.Input)
			fenced := fences{links, links}
			switch td.Cmd {
			case "host":
				return hostRules("rexcarcer_test", nets, fenced)
			case "router":
				return routerRules("rexcarcer_test", nets[0])
			case "bridge":
				return bridgeRules("rexcarcer_test", pins, nets)
			case "words":
				var b strings.Builder
				for _, r := range rulesOf(nets[0], nets) {
					fmt.Fprintf(&b, "%s | %s | %s | %s | %s | %s\n", r.Where, r.From, r.To, r.What, r.Then, r.Why)
				}
				return b.String()
			case "drop":
				return dropTables("rexcarcer_test")
			}
			t.Fatalf("unknown command %s", td.Cmd)
			return ""
		})
	})
}

// testMesh is the way to other hosts.
var testMesh = &Mesh{Device: "rw0000000a0", Addr: netip.MustParseAddr("198.19.0.1"), All: netip.MustParsePrefix("198.19.0.0/17"),
	Addr6: netip.MustParseAddr("fd52:6578:4361:7264::1"), All6: netip.MustParsePrefix("fd52:6578:4361:7264::/112")}

func parseRulesInput(t *testing.T, input string) (plan []plannedNetwork, pins []pin, fenced []string) {
	t.Helper()
	var nets []Network
	for line := range strings.Lines(input) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "fence":
			fenced = f[1:]
		case f[0] == "pin":
			mac, err := ParseMAC(f[2])
			if err != nil {
				t.Fatal(err)
			}
			p := pin{Link: f[1], MAC: mac, Addr: netip.MustParseAddr(f[3])}
			if len(f) > 4 {
				p.Addr6 = netip.MustParseAddr(f[4])
			}
			pins = append(pins, p)
		default:
			nets = append(nets, parseNetwork(t, f))
		}
	}
	ok, errs := Config{Networks: nets, Mesh: testMesh, Trunk: "em0"}.normalize()
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	uplinks, err := planUplinks(DefaultLinkRange, ok, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	near := peers(ok)
	for _, n := range ok {
		p := plannedNetwork{Network: n, Uplink: uplinks[n.ID], Publish: n.Publish, Peers: near[n.Name]}
		if n.Meshed {
			p.Mesh = testMesh
		}
		plan = append(plan, p)
	}
	return plan, pins, fenced
}

func parseNetwork(t *testing.T, f []string) Network {
	t.Helper()
	n := Network{Name: f[0], ID: f[1], Subnet: netip.MustParsePrefix(f[2])}
	for _, opt := range f[3:] {
		key, val, _ := strings.Cut(opt, "=")
		switch key {
		case "nat":
			n.NAT = true
		case "mtu":
			if _, err := fmt.Sscan(val, &n.MTU); err != nil {
				t.Fatal(err)
			}
		case "mesh":
			n.Meshed = true
		case "vlan":
			if _, err := fmt.Sscan(val, &n.VLAN); err != nil {
				t.Fatal(err)
			}
		case "subnet6":
			n.Subnet6 = netip.MustParsePrefix(val)
		case "allow":
			n.Allow = strings.Split(val, ",")
		case "publish":
			n.Publish = append(n.Publish, parsePublish(t, val))
		case "open": // open=beta:443/tcp,8000-8100/udp
			from, ports, _ := strings.Cut(val, ":")
			o := Open{From: from}
			for p := range strings.SplitSeq(ports, ",") {
				var x Ports
				_, err := fmt.Sscanf(strings.Replace(p, "/", " ", 1), "%d-%d %s", &x.First, &x.Last, &x.Proto)
				if err != nil {
					_, err = fmt.Sscanf(strings.Replace(p, "/", " ", 1), "%d %s", &x.First, &x.Proto)
					x.Last = x.First
				}
				if err != nil {
					t.Fatal(err)
				}
				o.Ports = append(o.Ports, x)
			}
			n.Open = append(n.Open, o)
		default:
			t.Fatalf("unknown option %s", opt)
		}
	}
	slices.Sort(n.Allow)
	return n
}

// parsePublish reads 80/tcp/shared/http:10.66.0.3:80,[fd00:66::3]:80.
func parsePublish(t *testing.T, val string) (p Publish) {
	t.Helper()
	head, members, _ := strings.Cut(val, ":")
	words := strings.Split(head, "/")
	if _, err := fmt.Sscan(words[0], &p.HostPort); err != nil {
		t.Fatal(err)
	}
	for _, w := range words[1:] {
		switch w {
		case "shared":
			p.Shared = true
		case "http":
			p.HTTP = true
		default:
			p.Proto = w
		}
	}
	for m := range strings.SplitSeq(members, ",") {
		switch a, err := netip.ParseAddrPort(m); {
		case m == "":
		case err != nil:
			t.Fatal(err)
		case a.Addr().Is6():
			p.Members6 = append(p.Members6, a)
		default:
			p.Members = append(p.Members, a)
		}
	}
	return p
}
