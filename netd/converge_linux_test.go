package netd

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
)

// operState is noticed by the kernel in the background.
var operState = regexp.MustCompile(` state [A-Z]+ `)

// snapshot is the network state inside a namespace, interface indexes included.
func (w *world) snapshot(ns string) string {
	w.tb.Helper()
	return operState.ReplaceAllString(w.sh(ns, "ip", "-o", "link"), " ") + w.sh(ns, "ip", "-o", "addr") + w.sh(ns, "ip", "route") + w.sh(ns, "ip", "-6", "route")
}

func TestDoingItTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a, b := netA(), netB()
	b.Allow = []string{"alpha"}
	a.Publish = []Publish{{HostPort: 15432, Members: []netip.AddrPort{netip.MustParseAddrPort("10.66.0.3:5432")}}}
	wish := NSConfig{ID: "11111111", Name: "j", Ports: []Port{port("alpha", "10.66.0.3"), {Network: "beta", NIC: 1, Addr: netip.MustParseAddr("10.67.0.3")}}}
	mustSet(t, d, a, b)
	j := mustAttach(t, d, wish)
	r, _ := d.RouterNS("alpha")
	see := func() string {
		return w.snapshot(w.host) + w.snapshot(j) + w.snapshot(r) + w.sh(w.host, "nft", "-s", "list", "ruleset") + w.sh(r, "nft", "-s", "list", "ruleset")
	}
	w.waitUp(j, "eth0")
	w.waitUp(j, "eth1")
	before := see()
	mustSet(t, d, a, b)
	mustAttach(t, d, wish)
	if after := see(); after != before {
		t.Errorf("changed: %s", diff(before, after))
	}
	// A new daemon, same wish: the same again.
	d2 := w.open("t1")
	d.closeReserved()
	mustSet(t, d2, a, b)
	mustAttach(t, d2, wish)
	if after := see(); after != before {
		t.Errorf("changed by a restart: %s", diff(before, after))
	}
}

// closeReserved gives the ports back as the end of a process does.
func (d *linux) closeReserved() {
	d.setMu.Lock()
	defer d.setMu.Unlock()
	d.reserve(nil)
}

func TestWishesMayChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a, b := netA(), netB()
	mustSet(t, d, a, b)
	j2 := mustAttach(t, d, jailWish("22222222", "alpha", "10.66.0.4"))
	w.serve(j2, "10.66.0.4:80", "two")
	j := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	wantAnswer(t, w.ask(j, "10.66.0.4:80"), "two 10.66.0.3")

	moved := jailWish("11111111", "alpha", "10.66.0.33")
	moved.Ports[0].MAC = MAC{2, 0, 1, 2, 3, 4}
	mustAttach(t, d, moved)
	wantAnswer(t, w.ask(j, "10.66.0.4:80"), "two 10.66.0.33")

	moved.Ports[0] = Port{Network: "beta", NIC: 1, Addr: netip.MustParseAddr("10.67.0.3")}
	mustAttach(t, d, moved)
	w.wantNoAnswer(j, "10.66.0.4:80")
	j3 := mustAttach(t, d, jailWish("33333333", "beta", "10.67.0.4"))
	w.serve(j3, "10.67.0.4:80", "three")
	wantAnswer(t, w.ask(j, "10.67.0.4:80"), "three 10.67.0.3")

	// The network gets another subnet; its jail follows.
	a.Subnet = netip.MustParsePrefix("10.68.0.0/24")
	a.MTU = 1400
	mustSet(t, d, a)
	mustAttach(t, d, jailWish("22222222", "alpha", "10.68.0.4"))
	w.serve(j2, "10.68.0.4:80", "two")
	wantAnswer(t, w.ask(w.host, "10.68.0.4:80"), "two 10.68.0.2")
	if v, err := d.Show(t.Context(), "alpha"); err != nil || len(v.Ports) != 1 || v.Ports[0].Addrs[0] != netip.MustParseAddr("10.68.0.4") {
		t.Errorf("got %+v, %v", v, err)
	}
}

func TestNetworkCarriesIPv6OnlyIfItHasASubnetForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	a := netA()
	mustSet(t, d, a)
	wish := jailWish("11111111", "alpha", "10.66.0.3")
	j := mustAttach(t, d, wish)
	if out := w.sh(j, "ip", "-6", "addr", "show", "dev", "eth0"); out != "" {
		t.Errorf("eth0 has IPv6 addresses:\n%s", out)
	}
	a.Subnet6 = netip.MustParsePrefix("fd00:66::/64")
	mustSet(t, d, a)
	wish.Ports[0].Addr6 = netip.MustParseAddr("fd00:66::3")
	mustAttach(t, d, wish)
	two := jailWish("22222222", "alpha", "10.66.0.4")
	two.Ports[0].Addr6 = netip.MustParseAddr("fd00:66::4")
	j2 := mustAttach(t, d, two)
	w.serve(j, "[fd00:66::3]:80", "six")
	wantAnswer(t, w.ask(j2, "[fd00:66::3]:80"), "six fd00:66::4")
	wantAnswer(t, w.ask(w.host, "[fd00:66::3]:80"), "six fd00:66::2")
	r, _ := d.RouterNS("alpha")
	wantAnswer(t, w.ask(r, "[fd00:66::3]:80"), "six fd00:66::1")
}

func TestJailMayComeBackAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	mustSet(t, d, netA())
	for range 5 {
		j := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
		// A process that lingers in the old namespace must not be in the way: the socket holds it open.
		w.serve(j, "10.66.0.3:80", "one")
		wantAnswer(t, w.ask(w.host, "10.66.0.3:80"), "one 10.66.0.2")
		if err := d.Detach(t.Context(), "11111111"); err != nil {
			t.Fatal(err)
		}
		if ids, err := d.List(t.Context()); err != nil || len(ids) != 0 {
			t.Errorf("got %v, %v, want no jails", ids, err)
		}
	}
	if err := d.Detach(t.Context(), "11111111"); err != nil {
		t.Errorf("detach of one that is not there: %v", err)
	}
}

func TestSweepRemovesOnlyWhatIsOursAndUnwanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.in(w.host, func() error {
		return errors.Join(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "rb123456780"}}),
			netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0", Alias: "rexcarcer-like"}}))
	})
	other := w.driver("other")
	b := netB()
	mustSet(t, other, b)
	theirs := mustAttach(t, other, jailWish("99999999", "beta", "10.67.0.3"))
	w.serve(theirs, "10.67.0.3:80", "theirs")
	d := w.driver("t1")
	mustSet(t, d, netA())
	kept := mustAttach(t, d, jailWish("11111111", "alpha", "10.66.0.3"))
	mustAttach(t, d, jailWish("22222222", "alpha", "10.66.0.4"))
	w.serve(kept, "10.66.0.3:80", "kept")

	d2 := w.open("t1") // as a daemon that starts again
	mustSet(t, d2, netA())
	for range 2 {
		if err := d2.Sweep(t.Context(), []string{"11111111"}); err != nil {
			t.Fatal(err)
		}
	}
	if ids, _ := d2.List(t.Context()); !slices.Equal(ids, []string{"11111111"}) {
		t.Errorf("got %v, want the one that is kept", ids)
	}
	wantAnswer(t, w.ask(w.host, "10.66.0.3:80"), "kept 10.66.0.2")
	wantAnswer(t, w.ask(w.host, "10.67.0.3:80"), "theirs 10.67.0.2")
	if err := d2.Teardown(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, w.ask(w.host, "10.67.0.3:80"), "theirs 10.67.0.2")
	w.serve(w.outside, "192.0.2.1:80", "outside")
	wantAnswer(t, w.ask(theirs, "192.0.2.1:80"), "outside 192.0.2.2")
	names := w.sh(w.host, "ip", "-o", "link")
	if !strings.Contains(names, "rb123456780") || !strings.Contains(names, "br0") || strings.Contains(names, "rbaaaa0001") {
		t.Errorf("links are\n%s", names)
	}
}

func TestManyJailsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver("t1")
	mustSet(t, d, netA())
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			c := jailWish(fmt.Sprintf("%08x", i), "alpha", fmt.Sprintf("10.66.0.%d", i+10))
			if _, err := d.Attach(t.Context(), c); err != nil {
				t.Error(err)
			}
			if i%3 == 0 {
				if err := d.Detach(t.Context(), c.ID); err != nil {
					t.Error(err)
				}
			}
		})
		if i == 50 {
			wg.Go(func() { mustSet(t, d, netA(), netB()) })
		}
	}
	wg.Wait()
	if ids, err := d.List(t.Context()); err != nil || len(ids) != 66 {
		t.Errorf("got %d jails, %v, want 66", len(ids), err)
	}
	j := d.jailPath("00000001")
	w.serve(j, "10.66.0.11:80", "x")
	wantAnswer(t, w.ask(d.jailPath("00000062"), "10.66.0.11:80"), "x 10.66.0.108")
}
