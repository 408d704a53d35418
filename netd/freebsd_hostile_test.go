package netd

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
)

var hostilePieces = []string{
	"\n", "\t", " ", ":", "\r", "\x00", "\x1b[2J", "\n\t", "a", "é", "%s", "\\", "'", "\"", "$(id)", ";",
	"rexcarcer:t1:aaaa0001:99aabbcc", " 02:00:99:aa:bb:cc 10.66.0.7", "rexcarcer:", "rexcarcer:t1:", "rexcarcer::::",
	"\n\tether 02:00:00:00:00:01", "\n\tinet 10.66.0.9/24 broadcast 10.66.0.255", "\n\toptions=60001b<RXCSUM>", "\n\tgroups: epair rexcarcer",
	"\n\tmember: em0 flags=143<LEARNING>", "\nrbaaaa00010: flags=1008843<UP,RUNNING> metric 0 mtu 9000", "\n\tdescription: rexcarcer:t1:aaaa0001:bridge",
	"\n\tinet6 fd00::1/64", "em0: flags=8843<UP> metric 0 mtu 1500",
}

func hostile(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(6) {
		b.WriteString(hostilePieces[r.IntN(len(hostilePieces))])
	}
	return b.String()
}

// TestFreeBSDBelievesNoDescription: whatever the description of an interface is, what is read of it is the kernel's, and it is
// ours only if the description is exactly what we write.
func TestFreeBSDBelievesNoDescription(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	d := &freebsd{o: Options{Instance: "t1"}}
	for i := range 10_000 {
		nic := freebsdtest.NIC{Name: "rh99aabbcc0", Kind: "bridge", Up: i%2 == 0, MTU: 1500, Ether: "58:9c:fc:10:0f:27", Groups: []string{"bridge", "rexcarcer"},
			Addrs: []netip.Prefix{netip.MustParsePrefix("10.66.0.7/24")}, Members: []*freebsdtest.NIC{{Name: "rraaaa00010"}}, Descr: hostile(r)}
		x, err := parseIface(nic.Name, nic.String())
		if err != nil {
			t.Fatalf("%q: %v", nic.Descr, err)
		}
		if x.Up != nic.Up || x.MTU != 1500 || x.Ether.String() != nic.Ether || !slices.Equal(x.Groups, nic.Groups) ||
			!slices.Equal(x.Addrs, nic.Addrs) || !slices.Equal(x.Members, []string{"rraaaa00010"}) {
			t.Fatalf("%q: got %+v", nic.Descr, x)
		}
		if strings.Contains(nic.Descr, "\n") != x.Forged {
			t.Fatalf("%q: forged is %v", nic.Descr, x.Forged)
		}
		m, ours := d.ours(x)
		if want, ok := parseMark(nic.Descr); ours && (!ok || strings.Contains(nic.Descr, "\n") || m != want) {
			t.Fatalf("%q is taken for ours: %+v", nic.Descr, m)
		}
	}
}

// TestFreeBSDReadsHostileTextWithoutHarm: none of the parsers panics, and what they return fits into a command.
func TestFreeBSDReadsHostileTextWithoutHarm(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		text := hostile(r) + hostile(r)
		_, _ = parseIface("rh99aabbcc0", text)
		_, _ = parseJails(text)
		_ = parseHolder(text, 80)
		_ = missingAnchors(text)
		for _, id := range parseAnchors(text, "t1") {
			if !idPattern.MatchString(id) {
				t.Fatalf("%q: got anchor %q", text, id)
			}
		}
		for _, x := range parseRoutes(text) {
			if !x.Dst.IsValid() {
				t.Fatalf("%q: got route %+v", text, x)
			}
		}
		for _, n := range []Network{{Name: text, ID: "aaaa0001", Subnet: mustP("10.0.0.0/24")}, {Name: "a", ID: text, Subnet: mustP("10.0.0.0/24")}} {
			if n.check() == nil {
				t.Fatalf("%q is a network", text)
			}
		}
	}
}

func TestFreeBSDRefusesAnOutsideThatIsNoInterface(t *testing.T) {
	t.Parallel()
	d := newBSD(t).d
	for _, dev := range []string{"", "em0 ; pass all", "em0\n", "-x", "EM0", strings.Repeat("a", 16)} {
		h, err := d.readHost(t.Context(), []route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Dev: dev}})
		if err != nil || h.Outside != "" {
			t.Errorf("%q: got %q, %v", dev, h.Outside, err)
		}
	}
}

func FuzzParseIface(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add("x0", (&freebsdtest.NIC{Name: "x0", Kind: "epair", Descr: hostile(r), Ether: "58:9c:fc:10:0f:27"}).String())
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		x, err := parseIface(name, text)
		if err == nil && (x.Name != name || !strings.HasPrefix(text, name+": ")) {
			t.Errorf("%q: got %s", text, fmt.Sprint(x))
		}
	})
}
