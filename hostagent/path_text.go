package hostagent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/netd"
)

// path says in words what was found. It is pure.
func (f *found) path() Path {
	w := &pathWriter{}
	for i, a := range f.jail.Addrs {
		f.nic(w, i, a)
	}
	if len(f.jail.Addrs) == 0 {
		w.say("jail", "network", "none: it has no interface")
	}
	f.insideRoutes(w)
	f.names(w)
	for _, name := range networkNames(f) {
		f.router(w, name)
	}
	f.host(w)
	for _, text := range f.failed {
		w.differ("not looked at: %s", text)
	}
	return w.p
}

type pathWriter struct{ p Path }

func (w *pathWriter) say(where, what, format string, args ...any) {
	w.p.Steps = append(w.p.Steps, PathStep{where, what, fmt.Sprintf(format, args...)})
}

func (w *pathWriter) differ(format string, args ...any) {
	w.p.Differences = append(w.p.Differences, fmt.Sprintf(format, args...))
}

func networkNames(f *found) []string {
	return slices.Compact(slices.Sorted(slices.Values(networksOf(f.jail))))
}

// nic compares one interface with its lease.
func (f *found) nic(w *pathWriter, i int, a fsm.Addr) {
	name, v := fmt.Sprintf("eth%d", i), f.views[a.Network]
	at := slices.IndexFunc(v.Ports, func(p netd.PortView) bool { return p.Jail == shortID(f.jail.UUID) && p.NIC == i })
	if at < 0 {
		w.differ("%s in network %s is not there", name, a.Network)
		return
	}
	p := v.Ports[at]
	w.say("jail", "interface", "%s %s %s, %s", name, p.MAC, joinAddrs(p.Addrs), upOrDown(p.Up))
	w.say("bridge", "port", "%s on %s of network %s, %s, mtu %d; it may send from %s", p.Link, v.Bridge, a.Network, upOrDown(v.Up), v.MTU, joinAddrs(p.Pinned))
	if len(v.Foreign) > 0 {
		w.say("bridge", "others", "%s", strings.Join(v.Foreign, ", "))
	}
	for _, want := range []netip.Addr{a.Addr, a.Addr6} {
		switch {
		case !want.IsValid():
		case !slices.Contains(p.Addrs, want):
			w.differ("%s has %s, and not %s, which is leased to it", name, joinAddrs(p.Addrs), want)
		case !slices.Contains(p.Pinned, want):
			w.differ("the bridge does not let pass what %s sends from %s", name, want)
		}
	}
	if p.MAC.String() != a.MAC && p.MAC != (netd.MAC{}) {
		w.differ("%s has the MAC %s, and not %s", name, p.MAC, a.MAC)
	}
	if !p.Up || !v.Up {
		w.differ("%s or its bridge is down", name)
	}
}

func (f *found) insideRoutes(w *pathWriter) {
	if f.trace == nil || len(f.jail.Addrs) == 0 {
		return
	}
	way := false
	for _, r := range f.trace.Routes {
		w.say("jail", "route", "%s", r)
		for _, n := range f.nets {
			way = way || r.To.Bits() == 0 && r.Via == n.Gateway
		}
	}
	if !way {
		w.differ("the jail has no default route to a router")
	}
}

func (f *found) names(w *pathWriter) {
	if f.resolv != "" {
		w.say("jail", "dns", "%s", strings.Join(strings.Fields(strings.ReplaceAll(strings.TrimSpace(f.resolv), "\n", "; ")), " "))
	}
	if f.resolv != "" && f.resolv != f.wanted {
		w.differ("/etc/resolv.conf is not the one that was written")
	}
}

// router tells of one router and what it does with packets of the jail.
func (f *found) router(w *pathWriter, name string) {
	n, v := f.nets[name], f.views[name]
	if n == nil {
		return
	}
	process := "its process runs"
	if !f.routers[name] {
		process = "its process does not run"
		w.differ("the router of network %s does not run: no DNS", name)
	}
	w.say("router", "interface", "%s-router lan %s, uplink %s; %s", name, joinAddrs(v.Router), v.Uplink, process)
	if !slices.Contains(v.Router, n.Gateway) {
		w.differ("the router of network %s does not have %s", name, n.Gateway)
	}
	switch text, asked := f.dns[name]; {
	case asked && text == "":
		w.say("router", "dns", "%s answers for %s", n.Gateway, f.nameIn(name))
	case asked:
		w.say("router", "dns", "%s", text)
		w.differ("DNS of network %s: %s", name, text)
	}
	if f.trace == nil {
		return
	}
	for _, r := range f.trace.Routers {
		if r.Network == name {
			f.routerRules(w, n, r)
		}
	}
}

func (f *found) routerRules(w *pathWriter, n *fsm.Network, r netd.RouterTrace) {
	for _, way := range r.Routes {
		w.say("router", "route", "%s", way)
	}
	nat := false
	for _, line := range ruleLines(r.Rules) {
		switch {
		case strings.Contains(line, "snat ") || strings.Contains(line, "masquerade"):
			nat = true
			w.say("router", "nat", "%s", line)
		case f.names4(line) && strings.Contains(line, "dnat"):
			w.say("router", "published", "%s", line)
		case f.names4(line):
			w.say("router", "rule", "%s", line)
		case strings.Contains(line, `iifname "lan" oifname`):
			w.say("router", "rule", "%s", line)
		}
	}
	if n.NAT != nat {
		w.differ("network %s: NAT is %s, and the router's rules say otherwise", n.Name, map[bool]string{true: "wished", false: "not wished"}[n.NAT])
	}
}

// names4 says whether a rule names an address of the jail.
func (f *found) names4(line string) bool {
	for _, a := range f.jail.Addrs {
		for _, x := range []netip.Addr{a.Addr, a.Addr6} {
			if i := strings.Index(line, x.String()); x.IsValid() && i >= 0 && !startsWithDigit(line[i+len(x.String()):]) {
				return true
			}
		}
	}
	return false
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// host tells of the way from routers to the outside.
func (f *found) host(w *pathWriter) {
	if f.trace == nil {
		return
	}
	h := f.trace.Host
	w.say("host", "forwarding", "%s", map[bool]string{true: "on", false: "off"}[h.Forwarding])
	if h.Out.To.IsValid() {
		w.say("host", "route", "%s", h.Out)
	} else {
		w.say("host", "route", "none to the outside")
	}
	needs := false
	for _, name := range networkNames(f) {
		n, v := f.nets[name], f.views[name]
		if n == nil {
			continue
		}
		needs = needs || n.NAT || len(n.Publish) > 0
		for _, line := range ruleLines(h.Rules) {
			if v.Uplink.IsValid() && strings.Contains(line, v.Uplink.String()) && !strings.HasPrefix(line, "elements") {
				w.say("host", "rule", "%s", line)
			}
		}
	}
	if needs && !h.Forwarding {
		w.differ("the host does not forward packets (net.ipv4.ip_forward is 0)")
	}
}

// ruleLines are the lines of a ruleset that are rules.
func ruleLines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line == "}" || strings.HasSuffix(line, "{") || strings.HasPrefix(line, "type ") {
			continue
		}
		out = append(out, line)
	}
	return out
}

func joinAddrs(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "no address"
	}
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return strings.Join(out, ", ")
}

func upOrDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}
