package hostagent

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/spec"
)

const pathRules = `table inet rexcarcer_x {
	chain publish {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "uplink" ip daddr 169.254.192.1 tcp dport 8080 dnat ip to 10.1.2.3:80
		iifname "uplink" ip daddr 169.254.192.1 tcp dport 8081 dnat ip to 10.1.2.33:80
	}
	chain nat_out {
		oifname "uplink" ip saddr 10.1.2.0/24 snat ip to 169.254.192.1
	}
	chain between {
		iifname "lan" oifname "uplink" accept
	}
}
`

// soundPath is a jail for which everything is as wished.
func soundPath() *found {
	addr := netip.MustParseAddr("10.1.2.3")
	gateway := netip.MustParseAddr("10.1.2.1")
	mac, _ := netd.ParseMAC("02:00:11:22:33:44")
	j := &fsm.Jail{UUID: "11223344-0000", Addrs: []fsm.Addr{{Network: "lab", Addr: addr, MAC: mac.String()}}, Names: []string{"web.lab.rex.internal"}}
	j.Spec.Name = "web"
	resolv := "nameserver 10.1.2.1\nsearch lab.rex.internal rex.internal\n"
	up := netip.MustParsePrefix("0.0.0.0/0")
	return &found{
		jail: j, domain: "rex.internal", resolv: resolv, wanted: resolv, dns: map[string]string{"lab": ""}, routers: map[string]bool{"lab": true},
		nets: map[string]*fsm.Network{"lab": {Network: spec.Network{Name: "lab", NAT: true}, Gateway: gateway}},
		views: map[string]netd.View{"lab": {
			Network: "lab", Bridge: "rb000000010", Up: true, MTU: 1500, Router: []netip.Addr{gateway}, Uplink: netip.MustParseAddr("169.254.192.1"),
			Ports: []netd.PortView{{Jail: "11223344", NIC: 0, Link: "rh112233440", MAC: mac, Addrs: []netip.Addr{addr}, Pinned: []netip.Addr{addr}, Up: true}},
		}},
		trace: &netd.Trace{
			Routes:  []netd.Route{{To: up, Via: gateway, Dev: "eth0"}},
			Routers: []netd.RouterTrace{{Network: "lab", Rules: pathRules, Routes: []netd.Route{{To: up, Via: netip.MustParseAddr("169.254.192.0"), Dev: "uplink"}}}},
			Host: netd.HostTrace{Forwarding: true, Out: netd.Route{To: up, Dev: "ens3", Src: netip.MustParseAddr("192.0.2.7")},
				Rules: "\t\tip saddr 169.254.192.1 oifname != \"ru000000010\" masquerade\n"},
		},
	}
}

func TestThePathOfASoundJailIsToldFromInsideOut(t *testing.T) {
	t.Parallel()
	p := soundPath().path()
	if len(p.Differences) > 0 {
		t.Errorf("differences: %q", p.Differences)
	}
	var got []string
	for _, s := range p.Steps {
		got = append(got, s.Where+" "+s.What+" "+s.Found)
	}
	want := []string{
		"jail interface eth0 02:00:11:22:33:44 10.1.2.3, up",
		"bridge port rh112233440 on rb000000010 of network lab, up, mtu 1500; it may send from 10.1.2.3",
		"jail route default via 10.1.2.1 dev eth0",
		"jail dns nameserver 10.1.2.1; search lab.rex.internal rex.internal",
		"router interface lab-router lan 10.1.2.1, uplink 169.254.192.1; its process runs",
		"router dns 10.1.2.1 answers for web.lab.rex.internal",
		"router route default via 169.254.192.0 dev uplink",
		`router published iifname "uplink" ip daddr 169.254.192.1 tcp dport 8080 dnat ip to 10.1.2.3:80`,
		`router nat oifname "uplink" ip saddr 10.1.2.0/24 snat ip to 169.254.192.1`,
		`router rule iifname "lan" oifname "uplink" accept`,
		"host forwarding on",
		"host route default dev ens3 src 192.0.2.7",
		`host rule ip saddr 169.254.192.1 oifname != "ru000000010" masquerade`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestWhatIsNotAsWishedOnThePathIsNamed(t *testing.T) {
	t.Parallel()
	other := netip.MustParseAddr("10.1.2.9")
	port := func(f *found, change func(*netd.PortView)) {
		v := f.views["lab"]
		v.Ports = slices.Clone(v.Ports)
		change(&v.Ports[0])
		f.views["lab"] = v
	}
	for want, spoil := range map[string]func(f *found){
		"eth0 in network lab is not there": func(f *found) { v := f.views["lab"]; v.Ports = nil; f.views["lab"] = v },
		"eth0 has 10.1.2.9, and not 10.1.2.3, which is leased to it": func(f *found) {
			port(f, func(p *netd.PortView) { p.Addrs = []netip.Addr{other} })
		},
		"the bridge does not let pass what eth0 sends from 10.1.2.3": func(f *found) {
			port(f, func(p *netd.PortView) { p.Pinned = nil })
		},
		"eth0 has the MAC 02:00:00:00:00:01, and not 02:00:11:22:33:44": func(f *found) {
			port(f, func(p *netd.PortView) { p.MAC = netd.MAC{2, 0, 0, 0, 0, 1} })
		},
		"eth0 or its bridge is down":                       func(f *found) { port(f, func(p *netd.PortView) { p.Up = false }) },
		"the jail has no default route to a router":        func(f *found) { f.trace.Routes = nil },
		"/etc/resolv.conf is not the one that was written": func(f *found) { f.resolv = "nameserver 9.9.9.9\n" },
		"the router of network lab does not run: no DNS":   func(f *found) { f.routers["lab"] = false },
		"DNS of network lab: it does not know web":         func(f *found) { f.dns["lab"] = "it does not know web" },
		"network lab: NAT is not wished, and the router's rules say otherwise": func(f *found) {
			n := *f.nets["lab"]
			n.NAT = false
			f.nets["lab"] = &n
		},
		"the host does not forward packets (net.ipv4.ip_forward is 0)": func(f *found) { f.trace.Host.Forwarding = false },
		"not looked at: it broke":                                      func(f *found) { f.failed = []string{"it broke"} },
	} {
		f := soundPath()
		spoil(f)
		if got := f.path().Differences; !slices.Equal(got, []string{want}) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
