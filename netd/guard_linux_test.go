package netd

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Case 47: a jail that could configure its own interface still sends only from what it was given.
func TestCase47SpoofedAddressesAndRogueDHCPStopAtTheBridge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	mustSet(t, d, netA())
	j1 := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	j2 := mustAttach(t, d, jailWish("22222222", "alpha", "10.66.0.4"))
	w.serve(j2, "10.66.0.4:80", "two")
	wantAnswer(t, w.ask(j1, "10.66.0.4:80"), "two 10.66.0.3")

	if w.datagram(j1, j2, 67) {
		t.Error("a datagram from UDP port 67 passed")
	}
	if !w.datagram(j1, j2, 68) {
		t.Error("a datagram from UDP port 68 did not pass")
	}
	w.in(j1, func() error { return replaceAddr("10.66.0.99/24") })
	w.wantNoAnswer(j1, "10.66.0.4:80")
	w.in(j1, func() error { return replaceAddr("10.66.0.3/24") })
	wantAnswer(t, w.ask(j1, "10.66.0.4:80"), "two 10.66.0.3")
	w.in(j1, func() error { return setMAC(MACOf("22222222", 0)) })
	w.wantNoAnswer(j1, "10.66.0.4:80")
	w.in(j1, func() error { return setMAC(MACOf("11111111", 0)) })
	wantAnswer(t, w.ask(j1, "10.66.0.4:80"), "two 10.66.0.3")
}

// datagram says whether one from 10.66.0.3:from arrives at 10.66.0.4:9999.
func (w *world) datagram(j1, j2 string, from int) bool {
	w.tb.Helper()
	var in *net.UDPConn
	w.in(j2, func() (err error) {
		in, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 66, 0, 4), Port: 9999})
		return err
	})
	defer in.Close()
	w.in(j1, func() error {
		out, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 66, 0, 3), Port: from}, &net.UDPAddr{IP: net.IPv4(10, 66, 0, 4), Port: 9999})
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = out.Write([]byte("x"))
		return err
	})
	_ = in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, err := in.Read(make([]byte, 10))
	return err == nil
}

func replaceAddr(s string) error {
	x, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	have, err := netlink.AddrList(x, unix.AF_INET)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(s)
	if err != nil {
		return err
	}
	err = netlink.AddrAdd(x, a)
	for _, old := range have {
		err = errors.Join(err, netlink.AddrDel(x, &old))
	}
	return err
}

func setMAC(m MAC) error {
	x, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	return netlink.LinkSetHardwareAddr(x, m[:])
}

func TestForeignRulesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	w.sh(w.host, "nft", `table ip mine {
		set s { type ifname; flags interval; elements = { "rb*" }; }
		chain c { type filter hook forward priority 0; policy accept; iifname @s counter; }
	}
	table bridge mine {
		chain c { type filter hook prerouting priority 0; policy accept; counter; }
	}`)
	list := func() string {
		return w.sh(w.host, "nft", "-s", "-a", "list", "table", "ip", "mine") + w.sh(w.host, "nft", "-s", "-a", "list", "table", "bridge", "mine")
	}
	before := list()
	a := netA()
	a.Publish = []Publish{{HostPort: 15432, Members: []netip.AddrPort{netip.MustParseAddrPort("10.66.0.3:5432")}}}
	mustSet(t, d, a, netB())
	mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	if after := list(); after != before {
		t.Errorf("foreign tables are\n%s\nwere\n%s", after, before)
	}
	if err := d.Sweep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Teardown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := list(); after != before {
		t.Errorf("foreign tables are\n%s\nwere\n%s", after, before)
	}
	w.sh(w.host, "nft", "delete table ip mine; delete table bridge mine")
}

func TestTurningForwardingOnOpensNoPathBetweenInterfacesOfTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lan := w.namespace("lan")
	w.link(w.host, "eth1", "198.51.100.1/24", lan, "eth0", "198.51.100.2/24")
	w.waitUp(w.host, "eth1")
	w.in(lan, func() error { return netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(198, 51, 100, 1)}) })
	w.in(w.outside, func() error { return netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 2)}) })
	w.serve(w.outside, "192.0.2.1:80", "outside")
	d := w.driver("t1")
	mustSet(t, d, netA())
	j := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	wantAnswer(t, w.ask(j, "192.0.2.1:80"), "outside 192.0.2.2")
	w.wantNoAnswer(lan, "192.0.2.1:80")
}

func TestSubnetInUseOnTheHostIsRefusedWithBothNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a := netA()
	a.Subnet = netip.MustParsePrefix("192.0.2.128/25")
	err := d.Set(t.Context(), Config{Networks: []Network{a, netB()}})
	var o *OverlapError
	if !errors.As(err, &o) || o.Network != "alpha" || o.Dev != "eth0" || o.With != netip.MustParsePrefix("192.0.2.0/24") {
		t.Fatalf("got %v, want an OverlapError for alpha and eth0", err)
	}
	if _, err := d.Attach(t.Context(), jailWish("11111111", "alpha", "192.0.2.133")); err == nil {
		t.Error("a jail was attached to a network that could not be made")
	}
	mustAttach(t, d, jailWish("22222222", "beta", "10.67.0.3"))
}

func TestPublishedPortInUseIsRefusedWithItsHolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	w.serve(w.host, "127.0.0.1:15432", "host's own")
	a := netA()
	a.Publish = []Publish{{HostPort: 15432, Members: []netip.AddrPort{netip.MustParseAddrPort("10.66.0.3:5432")}}}
	err := d.Set(t.Context(), Config{Networks: []Network{a}})
	var p *PortTakenError
	if !errors.As(err, &p) || p.Port != 15432 || !strings.Contains(p.Process, "netd.test") {
		t.Fatalf("got %v, want a PortTakenError naming netd.test", err)
	}
	wantAnswer(t, w.ask(w.host, "127.0.0.1:15432"), "host's own 127.0.0.1")
}

func TestCheckFindsWhatSetWouldAndChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	w.serve(w.host, "127.0.0.1:15432", "host's own")
	taken, busy := netA(), netB()
	taken.Publish = []Publish{{HostPort: 15432}, {HostPort: 15433}}
	busy.Subnet = netip.MustParsePrefix("192.0.2.128/25")
	err := d.Check(t.Context(), Config{Networks: []Network{taken, busy}})
	var p *PortTakenError
	var o *OverlapError
	if !errors.As(err, &p) || p.Port != 15432 || !errors.As(err, &o) || o.Network != "beta" {
		t.Fatalf("got %v, want a PortTakenError for 15432 and an OverlapError for beta", err)
	}
	mustSet(t, d, Network{Name: "alpha", ID: taken.ID, Subnet: taken.Subnet, Publish: []Publish{{HostPort: 15433}}})
	taken.Publish = taken.Publish[1:]
	if err := d.Check(t.Context(), Config{Networks: []Network{taken}}); err != nil {
		t.Errorf("what is made already stands in its own way: %v", err)
	}
}

func TestPublishedPortCannotBeTakenByAnotherProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a := netA()
	a.Publish = []Publish{{HostPort: 15432}}
	mustSet(t, d, a)
	err := w.try(w.host, func() error {
		l, err := net.Listen("tcp", "127.0.0.1:15432")
		if err == nil {
			_ = l.Close()
		}
		return err
	})
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, want EADDRINUSE", err)
	}
}

func TestSocketInodeFindsTheListener(t *testing.T) {
	t.Parallel()
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3C48 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 0100007F:3C48 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
`
	if got := socketInode(table, Publish{HostPort: 15432}); got != "4711" {
		t.Errorf("got %q, want 4711", got)
	}
	if got := socketInode(table, Publish{HostPort: 15433}); got != "" {
		t.Errorf("got %q, want none", got)
	}
}
