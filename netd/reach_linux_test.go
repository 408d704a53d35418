package netd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// pair is two hosts whose mesh is a bare cable: what the mesh encrypts is not netd's business.
type pair struct {
	w      [2]*world
	d      [2]*linux
	remote [2][]Remote
}

const cable = "rw0000000a0" // as the mesh's device, on both hosts

func meshOf(i int) *Mesh {
	return &Mesh{Device: cable, Addr: netip.AddrFrom4([4]byte{198, 19, 0, byte(i + 1)}), All: mustPrefix("198.19.0.0/17"),
		Addr6: netip.MustParseAddr(fmt.Sprintf("fd52:6578:4361:7264::%d", i+1)), All6: mustPrefix("fd52:6578:4361:7264::/112")}
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{w: [2]*world{newWorld(t), newWorld(t)}}
	a, b := p.w[0], p.w[1]
	a.link(a.host, cable, "198.19.0.1/17", b.host, cable, "198.19.0.2/17")
	for i, w := range p.w {
		w.in(w.host, func() error {
			x, err := netlink.LinkByName(cable)
			if err != nil {
				return err
			}
			// As on a mesh, nobody asks who has an address: it is sent to the other end, which takes it for its own.
			if err := netlink.LinkSetHardwareAddr(x, net.HardwareAddr{2, 0, 0, 0, 0, 1}); err != nil {
				return err
			}
			if err := netlink.LinkSetARPOff(x); err != nil {
				return err
			}
			if err := netlink.AddrAdd(x, &netlink.Addr{Flags: 2, IPNet: &net.IPNet{IP: meshOf(i).Addr6.AsSlice(), Mask: net.CIDRMask(112, 128)}}); err != nil {
				return err
			}
			if err := netlink.LinkSetAlias(x, "rexcarcer:t1:mesh:device"); err != nil {
				return err
			}
			// Kernels that cannot forward for single interfaces.
			if _, err := os.Stat("/proc/sys/net/ipv6/conf/lo/force_forwarding"); err != nil {
				return os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0)
			}
			return nil
		})
		w.waitUp(w.host, cable)
		p.d[i] = w.driver("t1")
	}
	return p
}

func (p *pair) set(t *testing.T, nets ...Network) {
	t.Helper()
	for i, d := range p.d {
		if err := d.Set(t.Context(), Config{Networks: nets, Mesh: meshOf(i)}); err != nil {
			t.Fatal(err)
		}
	}
}

// at makes jail's namespace on host i, and the way to it on the other.
func (p *pair) at(t *testing.T, i int, c NSConfig) string {
	t.Helper()
	ns := mustAttach(t, p.d[i], c)
	for _, port := range c.Ports {
		for _, a := range valid(port.Addr, port.Addr6) {
			p.remote[1-i] = append(p.remote[1-i], Remote{port.Network, a})
		}
	}
	p.reach(t)
	return ns
}

func (p *pair) reach(t *testing.T) {
	t.Helper()
	for i, d := range p.d {
		if err := d.Reach(t.Context(), p.remote[i]); err != nil {
			t.Fatal(err)
		}
	}
}

func meshedA() Network {
	n := netA()
	n.Meshed, n.MTU = true, 1420
	return n
}

func TestJailsOfOneNetworkReachEachOtherAcrossHosts(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.set(t, meshedA())
	j1 := p.at(t, 0, jailWish("11111111", "alpha", "10.66.0.3"))
	j2 := p.at(t, 1, jailWish("22222222", "alpha", "10.66.0.4"))
	p.w[0].serve(j1, "10.66.0.3:80", "one")
	p.w[1].serve(j2, "10.66.0.4:80", "two")
	wantAnswer(t, p.w[0].ask(j1, "10.66.0.4:80"), "two 10.66.0.3")
	wantAnswer(t, p.w[1].ask(j2, "10.66.0.3:80"), "one 10.66.0.4")
	// A host speaks from its own address on the mesh, and the jail sees its own host.
	wantAnswer(t, p.w[0].ask(p.w[0].host, "10.66.0.4:80"), "two 10.66.0.2")
	// Nobody answers for an address that nobody has.
	begun := time.Now()
	p.w[0].wantNoAnswer(j1, "10.66.0.9:80")
	if d := time.Since(begun); d < 500*time.Millisecond {
		t.Errorf("an address that nobody has was refused after %v: somebody answered for it", d)
	}
	// The host of another jail is not to be had by the mesh.
	p.w[1].serve(p.w[1].host, "198.19.0.2:22", "ssh")
	p.w[0].wantNoAnswer(j1, "198.19.0.2:22")
	p.w[0].wantNoAnswer(p.w[0].host, "198.19.0.2:22")
}

func TestIPv6ReachesAcrossHosts(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	n := meshedA()
	n.Subnet6 = mustPrefix("fd00:66::/64")
	p.set(t, n)
	wish := func(id, addr, addr6 string) NSConfig {
		c := jailWish(id, "alpha", addr)
		c.Ports[0].Addr6 = netip.MustParseAddr(addr6)
		return c
	}
	j1 := p.at(t, 0, wish("11111111", "10.66.0.3", "fd00:66::3"))
	j2 := p.at(t, 1, wish("22222222", "10.66.0.4", "fd00:66::4"))
	p.w[0].serve(j1, "[fd00:66::3]:80", "one")
	p.w[1].serve(j2, "[fd00:66::4]:80", "two")
	wantAnswer(t, p.w[0].ask(j1, "[fd00:66::4]:80"), "two fd00:66::3")
	wantAnswer(t, p.w[1].ask(j2, "[fd00:66::3]:80"), "one fd00:66::4")
}

func TestPublishedPortReachesAMemberOnAnotherHost(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	n := meshedA()
	n.NAT = false
	n.Publish = []Publish{{HostPort: 15432, Members: []netip.AddrPort{netip.MustParseAddrPort("10.66.0.3:80"), netip.MustParseAddrPort("10.66.0.4:80")}}}
	p.set(t, n)
	j1 := p.at(t, 0, jailWish("11111111", "alpha", "10.66.0.3"))
	j2 := p.at(t, 1, jailWish("22222222", "alpha", "10.66.0.4"))
	p.w[0].serve(j1, "10.66.0.3:80", "one")
	p.w[1].serve(j2, "10.66.0.4:80", "two")
	got := map[string]int{}
	for range 4 {
		got[p.w[0].ask(p.w[0].outside, "192.0.2.2:15432")]++
	}
	// A member on this host sees who asks; one on another sees its own host.
	if got["one 192.0.2.1"] != 2 || got["two 10.66.0.2"] != 2 {
		t.Errorf("answers to an outsider: %v", got)
	}
	clear(got)
	for range 4 {
		got[p.w[0].ask(p.w[0].host, "127.0.0.1:15432")]++
	}
	if len(got) != 2 || got["two 10.66.0.2"] != 2 {
		t.Errorf("answers to the host itself: %v", got)
	}
}

func TestAllowedNetworkReachesJailsOnAnotherHost(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	a, b := meshedA(), netB()
	b.Meshed, b.Allow = true, []string{"alpha"}
	p.set(t, a, b)
	ja := p.at(t, 0, jailWish("11111111", "alpha", "10.66.0.3"))
	jb := p.at(t, 1, jailWish("22222222", "beta", "10.67.0.3"))
	p.w[0].serve(ja, "10.66.0.3:80", "a")
	p.w[1].serve(jb, "10.67.0.3:80", "b")
	wantAnswer(t, p.w[0].ask(ja, "10.67.0.3:80"), "b 10.67.0.2")
	p.w[1].wantNoAnswer(jb, "10.66.0.3:80")
	b.Allow = nil
	p.set(t, a, b)
	p.reach(t)
	p.w[0].wantNoAnswer(ja, "10.67.0.3:80")
}

func TestPacketsFromTheMeshReachOnlyTheirOwnNetwork(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	a, b := meshedA(), netB()
	b.Meshed = true
	p.set(t, a, b)
	jb := p.at(t, 1, jailWish("22222222", "beta", "10.67.0.3"))
	p.w[1].serve(jb, "10.67.0.3:80", "b")
	// Whoever owns a whole host sends what he likes: from an address of another network, straight into the mesh.
	w := p.w[0]
	w.in(w.host, func() error {
		x, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(x, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 66, 0, 9).To4(), Mask: net.CIDRMask(32, 32)}})
	})
	err := w.try(w.host, func() error {
		c, err := (&net.Dialer{Timeout: 700 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 66, 0, 9)}}).Dial("tcp", "10.67.0.3:80")
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	if err == nil {
		t.Error("an address of network alpha reached network beta over the mesh")
	}
	w.in(w.host, func() error {
		x, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.AddrDel(x, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 66, 0, 9).To4(), Mask: net.CIDRMask(32, 32)}})
	})
}

func TestAddressFollowsItsJailToAnotherHost(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.set(t, meshedA())
	j1 := p.at(t, 0, jailWish("11111111", "alpha", "10.66.0.3"))
	j2 := p.at(t, 1, jailWish("22222222", "alpha", "10.66.0.4"))
	moving := jailWish("33333333", "alpha", "10.66.0.5")
	all := p.remote
	for round := range 3 {
		at := round % 2
		p.remote = all
		p.remote[1-at] = append(p.remote[1-at][:len(all[1-at]):len(all[1-at])], Remote{"alpha", moving.Ports[0].Addr})
		p.reach(t)
		ns := mustAttach(t, p.d[at], moving)
		stop := p.w[at].listen(ns, "10.66.0.5:80", "moving")
		for i, ns := range []string{j1, j2} {
			begun, got := time.Now(), ""
			for end := begun.Add(20 * time.Second); time.Now().Before(end) && !strings.HasPrefix(got, "moving"); {
				got = p.w[i].askFor(ns, "10.66.0.5:80", 300*time.Millisecond)
			}
			wantAnswer(t, got, fmt.Sprintf("moving 10.66.0.%d", 3+i))
			t.Logf("on host %d, asked from host %d: answered after %v", at, i, time.Since(begun))
		}
		stop()
		if err := p.d[at].Detach(t.Context(), "33333333"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWaysAreWhatWasWishedAfterADaemonDied(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	n := meshedA()
	n.Subnet6 = mustPrefix("fd00:66::/64")
	b := netB()
	b.Meshed = true
	p.set(t, n, b)
	a := func(s string) Remote { return Remote{"alpha", netip.MustParseAddr(s)} }
	first := []Remote{a("10.66.0.7"), a("fd00:66::7"), a("10.66.0.8"), {"beta", netip.MustParseAddr("10.67.0.8")}}
	if err := p.d[0].Reach(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	wantWays(t, p, "10.66.0.7 10.66.0.8 10.67.0.8 fd00:66::7")
	// Another process, which knows nothing; one way was half made, one network is gone.
	p.w[0].sh(p.w[0].host, "ip", "-6", "neigh", "del", "proxy", "fd00:66::7", "dev", bridgeName(n.ID))
	d := p.w[0].open("t1")
	p.d[0] = d
	if err := d.Set(t.Context(), Config{Networks: []Network{n}, Mesh: meshOf(0)}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Reach(t.Context(), []Remote{a("10.66.0.8"), a("fd00:66::7"), a("10.66.0.9"), {"gamma", netip.MustParseAddr("10.9.9.9")}}); err != nil {
			t.Fatal(err)
		}
		wantWays(t, p, "10.66.0.8 10.66.0.9 fd00:66::7")
	}
	proxied := p.w[0].sh(p.w[0].host, "ip", "-6", "neigh", "show", "proxy")
	if !strings.Contains(proxied, "fd00:66::7") {
		t.Errorf("proxied neighbours: %s", proxied)
	}
	if err := d.Reach(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantWays(t, p, "")
}

// wantWays compares the routes of host 0 by the mesh, and those of its router, with addresses between blanks.
func wantWays(t *testing.T, p *pair, want string) {
	t.Helper()
	w := p.w[0]
	list := func(ns, dev string) string {
		out := ""
		for _, family := range []string{"-4", "-6"} {
			for line := range strings.Lines(w.sh(ns, "ip", family, "route", "show", "dev", dev, "proto", fmt.Sprint(protoReach))) {
				out += " " + strings.Fields(line)[0]
			}
		}
		return strings.TrimSpace(out)
	}
	if got := list(w.host, cable); got != want {
		t.Errorf("ways of the host: %q, want %q", got, want)
	}
	r, err := p.d[0].RouterNS("alpha")
	if err != nil {
		t.Fatal(err)
	}
	var alpha []string
	for _, a := range strings.Fields(want) {
		if !strings.HasPrefix(a, "10.67.") {
			alpha = append(alpha, a)
		}
	}
	if got := list(r, nicLAN); got != strings.Join(alpha, " ") {
		t.Errorf("ways of the router: %q, want %q", got, alpha)
	}
}
