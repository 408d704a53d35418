package mesh

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// bsd plays what ifconfig(8) and wg(8) do to one host.
type bsd struct {
	t     *testing.T
	links map[string]*bsdLink
	conf  string // what wg syncconf read last
	argv  []string
	noWG  bool // the kernel has no if_wg
	fail  string
	dump  string
	modes []os.FileMode
}

func (h *bsd) Run(_ context.Context, c run.Cmd) (run.Result, error) {
	line := strings.Join(c.Argv, " ")
	h.argv = append(h.argv, line)
	if h.fail != "" && strings.Contains(line, h.fail) {
		h.fail = ""
		return run.Result{}, errors.New("killed on the way")
	}
	out, err := h.obey(c.Argv)
	return run.Result{Stdout: []byte(out)}, err
}

func (h *bsd) obey(a []string) (string, error) {
	switch {
	case a[0] == wgPath && a[1] == "syncconf":
		b, err := os.ReadFile(a[3])
		info, err2 := os.Stat(a[3])
		if err := errors.Join(err, err2); err != nil {
			return "", err
		}
		h.conf, h.modes = string(b), append(h.modes, info.Mode().Perm())
		return "", nil
	case a[0] == wgPath && a[1] == "show":
		return h.dump, nil
	case a[0] == wgPath:
		return "", nil
	case a[1] == "-l":
		var names []string
		for n := range h.links {
			names = append(names, n)
		}
		return strings.Join(names, " ") + "\n", nil
	case a[1] == "wg" && a[2] == "create":
		if h.noWG {
			return "", errors.New("ifconfig: SIOCIFCREATE2 (wg): Invalid argument")
		}
		h.links["wg0"] = &bsdLink{descr: a[4], groups: []string{"wg", a[6]}, mtu: 1420}
		return "wg0\n", nil
	}
	x := h.links[a[1]]
	switch {
	case x == nil:
		return "", fmt.Errorf("ifconfig: interface %s does not exist", a[1])
	case len(a) == 2:
		return h.print(a[1], x), nil
	case a[2] == "name":
		h.links[a[3]] = x
		delete(h.links, a[1])
	case a[2] == "destroy":
		delete(h.links, a[1])
	case a[2] == "mtu":
		_, err := fmt.Sscan(a[3], &x.mtu)
		x.up = true
		return "", err
	case a[2] == "descr":
		x.descr = a[3]
	case a[4] == "alias":
		x.addrs = append(x.addrs, netip.MustParsePrefix(a[3]))
	case a[4] == "-alias":
		x.addrs = slices.DeleteFunc(x.addrs, func(p netip.Prefix) bool { return p.Addr().String() == a[3] })
	default:
		h.t.Errorf("nobody knows %q", a)
	}
	return "", nil
}

// print is as ifconfig of 15.1 prints a tunnel.
func (h *bsd) print(name string, x *bsdLink) string {
	flags := "flags=8080<NOARP,MULTICAST>"
	if x.up {
		flags = "flags=80c1<UP,RUNNING,NOARP,MULTICAST>"
	}
	out := fmt.Sprintf("%s: %s metric 0 mtu %d\n", name, flags, x.mtu)
	if x.descr != "" {
		out += "\tdescription: " + x.descr + "\n"
	}
	out += "\toptions=80000<LINKSTATE>\n"
	for _, p := range x.addrs {
		if p.Addr().Is4() {
			out += fmt.Sprintf("\tinet %s netmask 0x%08x\n", p.Addr(), uint32(0xffffffff)<<(32-p.Bits()))
		} else {
			out += fmt.Sprintf("\tinet6 %s prefixlen %d\n", p.Addr(), p.Bits())
		}
	}
	return out + "\tgroups: " + strings.Join(x.groups, " ") + "\n\tnd6 options=109<PERFORMNUD,IFDISABLED,NO_DAD>\n"
}

func bsdMesh(t *testing.T) (*Mesh, *bsd, Config) {
	t.Helper()
	h := &bsd{t: t, links: map[string]*bsdLink{"lo0": {mtu: 16384, up: true, groups: []string{"lo"}}}}
	m, err := New(Options{Instance: "0000000a", RunDir: filepath.Join(t.TempDir(), "mesh"), Runner: h})
	if err != nil {
		t.Fatal(err)
	}
	m.b = &wgTool{name: m.name, os: bsdHost{h, "rexcarcer:0000000a:mesh:device"}, runDir: m.o.RunDir}
	c := Config{Private: Key{1}, Port: 51820, MTU: 1420, Addrs: []netip.Prefix{netip.MustParsePrefix("198.19.0.1/17"), netip.MustParsePrefix("fd52:6578:4361:7264::1/112")},
		Peers: []Peer{{Name: "b", Key: Key{2}, Endpoint: netip.MustParseAddrPort("192.0.2.2:51820"), Allowed: []netip.Addr{netip.MustParseAddr("10.66.0.4"), netip.MustParseAddr("198.19.0.2")}},
			{Name: "b (next key)", Key: Key{3}, Endpoint: netip.MustParseAddrPort("192.0.2.2:51820")}}}
	return m, h, c
}

func TestDeviceOfFreeBSDIsWhatWasWished(t *testing.T) {
	t.Parallel()
	m, h, c := bsdMesh(t)
	for range 2 {
		if err := m.Set(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	want := `[Interface]
PrivateKey = AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
ListenPort = 51820

[Peer]
PublicKey = AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
Endpoint = 192.0.2.2:51820
AllowedIPs = 10.66.0.4/32, 198.19.0.2/32

[Peer]
PublicKey = AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
Endpoint = 192.0.2.2:51820
`
	if d := cmp.Diff(want, h.conf); d != "" {
		t.Error(d)
	}
	x := h.links["rw0000000a0"]
	if x == nil || !x.up || x.mtu != 1420 || !slices.Equal(x.addrs, c.Addrs) || x.descr != "rexcarcer:0000000a:mesh:device" {
		t.Errorf("the interface is %+v", x)
	}
	if n := len(h.modes); n != 1 || h.modes[0] != 0o600 {
		t.Errorf("%d files with the modes %v", n, h.modes)
	}
	if left, _ := os.ReadDir(m.o.RunDir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	for _, line := range h.argv {
		if strings.Contains(line, c.Private.String()) {
			t.Errorf("everybody can read the key: %s", line)
		}
	}
	if err := m.Remove(t.Context()); err != nil || len(h.links) != 1 {
		t.Errorf("left: %v (%v)", h.links, err)
	}
}

func TestDeviceOfFreeBSDIsAdopted(t *testing.T) {
	t.Parallel()
	m, h, c := bsdMesh(t)
	if err := m.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	again, _, _ := bsdMesh(t)
	again.b = &wgTool{name: m.name, os: bsdHost{h, "rexcarcer:0000000a:mesh:device"}, runDir: again.o.RunDir}
	c.Private, c.Addrs = Key{9}, c.Addrs[:1]
	h.argv = nil
	if err := again.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, line := range h.argv {
		if strings.Contains(line, "create") || strings.Contains(line, "destroy") {
			t.Errorf("an interface that was there: %s", line)
		}
	}
	if x := h.links[m.name]; !slices.Equal(x.addrs, c.Addrs) {
		t.Errorf("addresses: %v", x.addrs)
	}
	c.Private = Key{10}
	h.argv = nil
	if err := again.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	greets := 0
	for _, line := range h.argv {
		if strings.Contains(line, "persistent-keepalive") {
			greets++
		}
	}
	if greets != 2 { // on and off, for the one peer with addresses
		t.Errorf("a new key: %q", h.argv)
	}
}

func TestDeviceOfFreeBSDConvergesAfterAnyFailure(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"create", " name ", "syncconf", "inet 198", "inet6", " mtu ", "-l"} {
		m, h, c := bsdMesh(t)
		h.fail = at
		if err := m.Set(t.Context(), c); err == nil {
			t.Errorf("killed at %q, and nobody said so", at)
		}
		if err := m.Set(t.Context(), c); err != nil {
			t.Errorf("after a failure at %q: %v", at, err)
		}
		x := h.links[m.name]
		if len(h.links) != 2 || x == nil || !x.up || !slices.Equal(x.addrs, c.Addrs) || !strings.Contains(h.conf, "10.66.0.4/32") {
			t.Errorf("after a failure at %q: %+v, %v", at, x, h.links)
		}
	}
}

func TestFreeBSDWithoutIfWGSaysSo(t *testing.T) {
	t.Parallel()
	m, h, c := bsdMesh(t)
	h.noWG = true
	if err := m.Set(t.Context(), c); err == nil || !strings.Contains(err.Error(), "if_wg") {
		t.Errorf("got %v", err)
	}
	h.noWG = false
	h.links[m.name] = &bsdLink{descr: "mine", groups: []string{"bridge"}}
	if err := m.Set(t.Context(), c); err == nil || !strings.Contains(err.Error(), "is not ours") {
		t.Errorf("got %v", err)
	}
	if h.links[m.name].descr != "mine" {
		t.Error("a stranger's interface was touched")
	}
}

func TestDumpOfWGIsRead(t *testing.T) {
	t.Parallel()
	m, h, c := bsdMesh(t)
	if err := m.Set(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	h.dump = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\tAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\t51820\toff\n" +
		Key{3}.String() + "\t(none)\t(none)\t(none)\t0\t0\t0\toff\n" +
		Key{2}.String() + "\t(none)\t192.0.2.2:51820\t198.19.0.2/32,10.66.0.4/32\t1800000000\t120\t240\t25\n"
	v, err := m.Show(t.Context())
	if err != nil || len(v.Peers) != 2 || v.Kind != KindKernel {
		t.Fatalf("%+v (%v)", v, err)
	}
	p := v.Peers[0]
	if p.Key != (Key{2}) || p.Endpoint != "192.0.2.2:51820" || p.Handshake.Unix() != 1800000000 || p.Received != 120 || p.Sent != 240 ||
		!slices.Equal(p.Allowed, c.Peers[0].Allowed) || !v.Peers[1].Handshake.IsZero() {
		t.Errorf("%+v", v.Peers)
	}
	for _, bad := range []string{"x\ny\n", "x\n" + Key{2}.String() + "\t\t\t\t\t\t\t\n", "x\n" + Key{2}.String() + "\t-\t-\tnowhere\t0\t0\t0\toff\n"} {
		if _, err := parseDump(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
