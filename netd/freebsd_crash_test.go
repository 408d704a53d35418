package netd

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
)

// bsdWish is all that a host shall have.
type bsdWish struct {
	nets  []Network
	jails []NSConfig
}

func bsdNet(i int) Network {
	return Network{Name: string(rune('a' + i)), ID: fmt.Sprintf("%08x", i+1), Subnet: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/24", 60+i))}
}

func (w *bsdWorld) make(tb testing.TB, wish bsdWish) error {
	tb.Helper()
	ctx := tb.Context()
	if err := w.d.Set(ctx, Config{Networks: wish.nets}); err != nil {
		return err
	}
	var keep []string
	for _, j := range wish.jails {
		if _, err := w.d.Attach(ctx, j); err != nil {
			return err
		}
		keep = append(keep, j.ID)
	}
	return w.d.Sweep(ctx, keep)
}

var (
	kernelMAC  = regexp.MustCompile(`58:9c:fc:[0-9a-f:]+`)
	stateBlock = regexp.MustCompile(`(?m)^\[`)
)

// canonical is the state of a host without what differs between two ways to it: the kernel's MACs, and the order of lists.
// Rules keep their order.
func canonical(state string) string {
	var out []string
	for _, block := range stateBlock.Split(kernelMAC.ReplaceAllString(state, "kernel"), -1) {
		if strings.HasPrefix(block, "pf]") {
			out = append(out, canonicalPF(block))
			continue
		}
		lines := strings.Split(strings.TrimSpace(block), "\n")
		for i, l := range lines {
			words := strings.Fields(l)
			if j := slices.IndexFunc(words, func(s string) bool { return strings.HasPrefix(s, "mtu=") }); j >= 0 && !strings.Contains(l, `\n`) {
				if k := slices.IndexFunc(words, func(s string) bool { return strings.HasPrefix(s, `"`) }); k > j {
					slices.Sort(words[j+1 : k])
				}
			}
			lines[i] = strings.Join(words, " ")
		}
		slices.Sort(lines)
		out = append(out, strings.Join(lines, "\n"))
	}
	return strings.Join(out, "\n")
}

// canonicalPF leaves out the declarations of tables, which -T replace leaves as they were; what is in them is shown below.
func canonicalPF(block string) string {
	var vnets []string
	for l := range strings.Lines(block) {
		if strings.Contains(l, " enabled=") || len(vnets) == 0 {
			vnets = append(vnets, "")
		}
		if !strings.HasPrefix(l, "table <") {
			vnets[len(vnets)-1] += l
		}
	}
	slices.Sort(vnets)
	return strings.Join(vnets, "")
}

func clean(tb testing.TB, wish bsdWish) string {
	tb.Helper()
	w := newBSD(tb)
	w.host.Net.HostRules(adminRules)
	if err := w.make(tb, wish); err != nil {
		tb.Fatal(err)
	}
	return canonical(w.host.State())
}

func (w *bsdWorld) check(tb rapid.TB) {
	if p := w.host.Net.Panics; len(p) > 0 {
		tb.Fatal(p)
	}
}

func TestFreeBSDConvergesFromEveryHalfWayPoint(t *testing.T) {
	t.Parallel()
	a, b := bsdNet(0), bsdNet(1)
	a.NAT, b.Allow = true, []string{"a"}
	a.Subnet6 = netip.MustParsePrefix("fd00:60::/64")
	a.Publish = []Publish{{HostPort: 80, Members: []netip.AddrPort{netip.MustParseAddrPort("10.60.0.7:8080")}}}
	wish := bsdWish{nets: []Network{a, b}, jails: []NSConfig{
		{ID: "99aabbcc", Name: "web", Ports: []Port{{Network: "a", Addr: netip.MustParseAddr("10.60.0.7"), Addr6: netip.MustParseAddr("fd00:60::7")},
			{Network: "b", NIC: 1, Addr: netip.MustParseAddr("10.61.0.7")}}},
	}}
	want := clean(t, wish)
	empty := canonical(func() string { w := newBSD(t); w.host.Net.HostRules(adminRules); return w.host.State() }())
	for _, down := range []bool{false, true} { // killed on the way up, and on the way down
		points := 0
		for crash := true; crash; points++ {
			for _, after := range []bool{false, true} {
				w := newBSD(t)
				w.host.Net.HostRules(adminRules)
				if down {
					if err := w.make(t, wish); err != nil {
						t.Fatal(err)
					}
				}
				w.host.CrashAt(points+1, after)
				if down {
					_ = w.d.Teardown(t.Context())
				} else {
					_ = w.make(t, wish)
				}
				if crash = w.host.Revive(); !crash {
					break
				}
				w.restart(t)
				for range 2 { // and once more changes nothing
					if err := w.make(t, wish); err != nil {
						t.Fatalf("killed at command %d (after=%v, down=%v): %v", points+1, after, down, err)
					}
					if got := canonical(w.host.State()); got != want {
						t.Fatalf("killed at command %d (after=%v, down=%v): got\n%s\nwant\n%s", points+1, after, down, got, want)
					}
				}
				if err := w.d.Teardown(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := canonical(w.host.State()); got != empty {
					t.Fatalf("after teardown: got\n%s\nwant\n%s", got, empty)
				}
				w.check(t)
			}
		}
		if points < 30 {
			t.Errorf("only %d points, want the whole way", points)
		}
	}
}

// TestFreeBSDReachesEveryWishFromEveryOther walks through random wishes, with kills, jails that die slowly, and interfaces that
// strangers leave behind.
func TestFreeBSDReachesEveryWishFromEveryOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newBSD(t)
		w.host.Net.HostRules(adminRules)
		w.host.DyingFor = rapid.IntRange(0, 3).Draw(rt, "dying")
		var last bsdWish
		for range rapid.IntRange(1, 6).Draw(rt, "wishes") {
			last = drawWish(rt)
			if n := rapid.IntRange(0, 150).Draw(rt, "crash"); n > 0 {
				w.host.CrashAt(n, rapid.Bool().Draw(rt, "after"))
			}
			if err := w.make(t, last); err != nil && !errors.Is(err, freebsdtest.ErrCrash) {
				rt.Fatal(err)
			}
			if w.host.Revive() {
				w.restart(t)
			}
			if rapid.IntRange(0, 2).Draw(rt, "stranger") == 0 {
				w.host.Net.Stray(jailPort("00000001", 0), "rexcarcer:t1:00000001:00000001\nevil: flags=8843<UP>")
			}
		}
		if err := w.make(t, last); err != nil {
			rt.Fatal(err)
		}
		w.check(rt)
		for range 4 { // what dies, dies
			if _, err := w.d.List(t.Context()); err != nil {
				rt.Fatal(err)
			}
		}
		// What a network that has lost its IPv6 keeps of it: routes without an address, and the setting.
		lines := func(state string) string {
			return strings.Join(slices.DeleteFunc(strings.Split(state, "\n"), func(l string) bool {
				return strings.Contains(l, "evil") || strings.Contains(l, "inet6.ip6") || strings.Contains(l, "route ::/0") || strings.Contains(l, "route fd")
			}), "\n")
		}
		if got, want := lines(canonical(w.host.State())), lines(clean(t, last)); got != want {
			rt.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func drawWish(rt *rapid.T) bsdWish {
	var wish bsdWish
	for i := range 3 {
		if !rapid.Bool().Draw(rt, "network") {
			continue
		}
		n := bsdNet(i)
		n.NAT = rapid.Bool().Draw(rt, "nat")
		n.MTU = rapid.SampledFrom([]int{0, 1420}).Draw(rt, "mtu")
		if rapid.Bool().Draw(rt, "six") {
			n.Subnet6 = netip.MustParsePrefix(fmt.Sprintf("fd00:%d::/64", 60+i))
		}
		n.Allow = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2, rapid.ID).Draw(rt, "allow")
		if rapid.Bool().Draw(rt, "publish") {
			p := Publish{HostPort: uint16(8000 + i)}
			for _, k := range rapid.SliceOfNDistinct(rapid.IntRange(3, 6), 0, 3, rapid.ID).Draw(rt, "members") {
				p.Members = append(p.Members, netip.AddrPortFrom(nth(n.Subnet, k), 80))
			}
			n.Publish = append(n.Publish, p)
		}
		wish.nets = append(wish.nets, n)
	}
	for i := range 2 {
		if len(wish.nets) == 0 || !rapid.Bool().Draw(rt, "jail") {
			continue
		}
		c := NSConfig{ID: fmt.Sprintf("%08x", i+1), Name: "j"}
		for nic, n := range wish.nets[:rapid.IntRange(0, len(wish.nets)).Draw(rt, "ports")] {
			p := Port{Network: n.Name, NIC: nic, Addr: nth(n.Subnet, 3+i)}
			if n.Subnet6.IsValid() {
				p.Addr6 = nth(n.Subnet6, 3+i)
			}
			c.Ports = append(c.Ports, p)
		}
		wish.jails = append(wish.jails, c)
	}
	return wish
}
