package freebsdtest

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// NIC is one interface of the host or of a jail with a network of its own.
type NIC struct {
	Name    string
	Kind    string // lo, epair, bridge, or that of the driver
	Vnet    int    // jid of the jail whose network it is in; 0: the host's
	Up      bool
	MTU     int
	Descr   string
	Ether   string
	HWAddr  string // the first MAC, once it was changed
	Groups  []string
	Addrs   []netip.Prefix
	V6      bool // IPv6 is not disabled
	Members []*NIC
	Peer    *NIC // of an epair

	unit string // the kernel's own name, which a renamed one keeps
}

// Net is what ifconfig(8), route(8), netstat(1) and pfctl(8) act on. Handlers run with the Host locked; tests use its
// methods that lock.
type Net struct {
	h         *Host
	nics      []*NIC
	routes    map[int][]bsdRoute
	published []bsdPublished            // proxy ARP of the host
	sysctls   map[int]map[string]string // of vnets
	vnets     map[int]bool              // that have their loopback
	pf        pfState
	macs      int

	Sockstat string   // what sockstat(1) prints; set before use
	Panics   []string // what would have panicked the kernel
}

type bsdRoute struct {
	Dst netip.Prefix
	Gw  string
	Dev *NIC
}

func newNet(h *Host) *Net {
	n := &Net{h: h, routes: map[int][]bsdRoute{}, sysctls: map[int]map[string]string{}, vnets: map[int]bool{}, pf: newPF()}
	n.vnet(0)
	for name, f := range map[string]Handler{
		"ifconfig": n.ifconfig, "route": n.route, "netstat": n.netstat, "arp": n.arp, "pfctl": n.pfctl, "jexec": n.jexec,
		"sockstat": func(*Host, run.Cmd, []string) Reply { return Reply{Out: n.Sockstat} },
	} {
		h.handlers[name] = f
	}
	h.OnGone(n.gone)
	h.Section("net", n.show)
	h.Section("pf", n.showPF)
	return n
}

// vnet makes the loopback of a new one.
func (n *Net) vnet(jid int) int {
	if !n.vnets[jid] {
		n.vnets[jid] = true
		n.nics = append(n.nics, &NIC{Name: "lo0", Kind: "lo", Vnet: jid, MTU: 16384, Groups: []string{"lo"}, V6: true})
	}
	return jid
}

// owner is the vnet in which a jail lives: its own, or that of the nearest ancestor that has one.
func (n *Net) owner(name string) (vnet int, ok bool) {
	j := n.h.jail(name)
	if j == nil {
		return 0, false
	}
	for {
		if _, own := j.Params["vnet"]; own {
			return n.vnet(j.JID), true
		}
		i := strings.LastIndexByte(j.Name, '.')
		if i < 0 {
			return 0, true
		}
		if j = n.h.jail(j.Name[:i]); j == nil {
			return 0, true
		}
	}
}

// gone brings the interfaces of a jail home, whatever their names are: seen.
func (n *Net) gone(j *Jail) {
	if !n.vnets[j.JID] {
		return
	}
	delete(n.vnets, j.JID)
	delete(n.routes, j.JID)
	delete(n.sysctls, j.JID)
	delete(n.pf.vnets, j.JID)
	n.nics = slices.DeleteFunc(n.nics, func(x *NIC) bool { return x.Vnet == j.JID && x.Kind == "lo" })
	for _, x := range slices.Clone(n.nics) {
		if x.Vnet == j.JID {
			n.move(x, 0)
		}
	}
}

// move puts x into another vnet: addresses and groups are lost, it is down, and last in the list.
func (n *Net) move(x *NIC, vnet int) {
	n.forget(x)
	x.Vnet, x.Up, x.Addrs, x.Groups, x.V6 = vnet, false, nil, []string{x.Kind}, false
	n.nics = append(slices.DeleteFunc(n.nics, func(o *NIC) bool { return o == x }), x)
}

// forget takes x out of bridges and routes.
func (n *Net) forget(x *NIC) {
	for _, b := range n.nics {
		b.Members = slices.DeleteFunc(b.Members, func(m *NIC) bool { return m == x })
	}
	for v, list := range n.routes {
		n.routes[v] = slices.DeleteFunc(list, func(r bsdRoute) bool { return r.Dev == x })
	}
}

// find returns the first interface of that name: seen.
func (n *Net) find(vnet int, name string) *NIC {
	for _, x := range n.nics {
		if x.Vnet == vnet && x.Name == name {
			return x
		}
	}
	return nil
}

// inside are the programs that jexec runs from the host's own root: they act on the network of the jail.
var inside = []string{"ifconfig", "route", "netstat", "pfctl", "sysctl"}

// tool says whether c is jexec with one of them, in a jail whose root is the host's.
func (n *Net) tool(c run.Cmd) bool {
	x, err := parseJexec(c.Argv[1:])
	if err != nil || !slices.Contains(inside, filepath.Base(x.argv[0])) {
		return false
	}
	j := n.h.jail(x.jail)
	return j == nil || j.Path == "/"
}

func (n *Net) jexec(h *Host, c run.Cmd, args []string) Reply {
	x, err := parseJexec(args)
	if err != nil {
		return Fail(1, "jexec: %v", err)
	}
	if h.jail(x.jail) == nil {
		return Fail(1, "jexec: jail %q not found", x.jail)
	}
	if filepath.Base(x.argv[0]) == "sysctl" {
		return n.sysctl(x.jail, x.argv[1:])
	}
	c.Argv = append([]string{x.argv[0], "-j", x.jail}, x.argv[1:]...)
	return h.Call(c)
}

// sysctl NAME=VALUE of a vnet; only what is one per vnet can be set there.
func (n *Net) sysctl(jail string, args []string) Reply {
	vnet, _ := n.owner(jail)
	name, value, set := strings.Cut(strings.Join(args, " "), "=")
	if !set || name != "net.inet.ip.forwarding" && name != "net.inet6.ip6.forwarding" {
		return Fail(1, "freebsdtest: sysctl %s in a jail: not modelled", strings.Join(args, " "))
	}
	if n.sysctls[vnet] == nil {
		n.sysctls[vnet] = map[string]string{}
	}
	old := n.sysctls[vnet][name]
	if old == "" {
		old = "0"
	}
	n.sysctls[vnet][name] = value
	return Reply{Out: fmt.Sprintf("%s: %s -> %s\n", name, old, value)}
}

// enter reads a leading -j JAIL.
func (n *Net) enter(tool string, args []string) (vnet int, rest []string, r Reply) {
	if len(args) < 2 || args[0] != "-j" {
		return 0, args, Reply{}
	}
	vnet, ok := n.owner(args[1])
	if !ok {
		return 0, nil, Fail(1, "%s: jail %q not found", tool, args[1])
	}
	return vnet, args[2:], Reply{}
}

func (n *Net) show() string {
	var b strings.Builder
	name := map[int]string{}
	for _, j := range n.h.jails {
		name[j.JID] = j.Name
	}
	list := slices.Clone(n.nics)
	slices.SortStableFunc(list, func(a, c *NIC) int {
		return strings.Compare(name[a.Vnet]+" "+a.Name, name[c.Vnet]+" "+c.Name)
	})
	for _, x := range list {
		if x.Kind == "lo" && x.Vnet == 0 {
			continue
		}
		where := "host"
		if x.Vnet != 0 {
			where = name[x.Vnet]
		}
		fmt.Fprintf(&b, "%s %s %s mtu=%d", where, x.Name, map[bool]string{true: "up", false: "down"}[x.Up], x.MTU)
		for _, a := range x.Addrs {
			fmt.Fprintf(&b, " %v", a)
		}
		if x.Peer != nil {
			fmt.Fprintf(&b, " ether=%s peer=%s", x.Ether, x.Peer.Name)
		}
		for _, m := range x.Members {
			fmt.Fprintf(&b, " member=%s", m.Name)
		}
		if x.Descr != "" {
			fmt.Fprintf(&b, " %q", x.Descr)
		}
		b.WriteByte('\n')
	}
	for _, j := range n.h.jails {
		for _, r := range n.routes[j.JID] {
			fmt.Fprintf(&b, "%s route %v %s\n", j.Name, r.Dst, r.Gw)
		}
		for _, s := range []string{"net.inet.ip.forwarding", "net.inet6.ip6.forwarding"} {
			if v := n.sysctls[j.JID][s]; v != "" {
				fmt.Fprintf(&b, "%s %s=%s\n", j.Name, s, v)
			}
		}
	}
	return b.String()
}

// AddNIC gives the host an interface of its own with an address, and with gw the default route.
func (n *Net) AddNIC(name string, addr netip.Prefix, gw string) {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	x := &NIC{Name: name, Kind: strings.TrimRight(name, "0123456789"), Up: true, MTU: 1500, Ether: "52:54:00:12:34:56", Addrs: []netip.Prefix{addr}}
	n.nics = append(n.nics, x)
	if gw != "" {
		n.routes[0] = append(n.routes[0], bsdRoute{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gw: gw, Dev: x})
	}
}

// Edit lets a test change the interfaces behind the driver's back: f gets all of them.
func (n *Net) Edit(f func(nics []*NIC)) {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	f(n.nics)
}

// Stray puts an interface of that name on the host, as a jail that dies does: without a look at who has the name.
func (n *Net) Stray(name, descr string, groups ...string) {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	n.macs++
	n.nics = append(n.nics, &NIC{Name: name, Kind: "epair", MTU: 1500, Descr: descr, Groups: append([]string{"epair"}, groups...),
		Ether: "58:9c:fc:ff:00:" + fmt.Sprintf("%02x", n.macs%256)})
}

// Destroy removes the first interface of that name from the host.
func (n *Net) Destroy(name string) {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	if x := n.find(0, name); x != nil {
		n.remove(x)
	}
}

func (n *Net) remove(x *NIC) {
	for _, o := range []*NIC{x, x.Peer} {
		if o != nil {
			n.forget(o)
			n.nics = slices.DeleteFunc(n.nics, func(p *NIC) bool { return p == o })
		}
	}
}

func (n *Net) mac() string {
	n.macs++
	return fmt.Sprintf("58:9c:fc:10:%02x:%02x", n.macs>>8&0xff, n.macs&0xff)
}

// unit is the lowest free one of a kind; a renamed interface keeps its own.
func (n *Net) unit(kind string) string {
	used := map[string]bool{}
	for _, x := range n.nics {
		used[x.unit] = true
	}
	for i := 0; ; i++ {
		if u := kind + strconv.Itoa(i); !used[u] {
			return u
		}
	}
}
