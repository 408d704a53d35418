package spec

import (
	"net/netip"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// dhcp reads the dhcp block of a network, nil if there is none.
func (d *decoder) dhcp(n *block) *DHCP {
	k := n.single("dhcp")
	if k == nil {
		return nil
	}
	out := &DHCP{
		Off:      !k.flagOr("enabled", true),
		Lease:    k.duration("lease", 0),
		DNS:      k.addrs("dns"),
		NTP:      k.addrs("ntp"),
		Search:   k.list("search", true, `search = ["example.org"]`),
		Bootfile: k.text("bootfile", ""),
		MTU:      k.number("mtu", 0, 576, 9216),
	}
	for _, s := range k.list("range", true, `range = "10.66.0.100-10.66.0.199"`) {
		r, err := ParseAddrRange(s)
		if err != nil {
			k.fail(k.body.Attributes["range"], `such as "10.66.0.100-10.66.0.199"`, "%v", err)
			continue
		}
		out.Ranges = append(out.Ranges, r)
	}
	for _, s := range k.list("routes", true, `routes = ["10.1.0.0/16 via 10.66.0.9"]`) {
		to, via, _ := strings.Cut(s, " via ")
		p, err := netip.ParsePrefix(strings.TrimSpace(to))
		a, err2 := netip.ParseAddr(strings.TrimSpace(via))
		if err != nil || err2 != nil {
			k.fail(k.body.Attributes["routes"], `such as "10.1.0.0/16 via 10.66.0.9"`, "%q is not SUBNET via ADDRESS", clip(s))
			continue
		}
		out.Routes = append(out.Routes, DHCPRoute{p, a})
	}
	if next := k.text("next_server", ""); next != "" {
		a, err := netip.ParseAddr(next)
		if err != nil {
			k.fail(k.body.Attributes["next_server"], `such as "10.66.0.5"`, "%q is not an address", clip(next))
		}
		out.NextServer = a
	}
	first := make(map[string]bool)
	for _, b := range k.inner("host") {
		if h, ok := d.dhcpHost(k, b, first); ok {
			out.Hosts = append(out.Hosts, h)
		}
	}
	k.finish("host")
	return out
}

func (d *decoder) dhcpHost(k *block, b *hclsyntax.Block, first map[string]bool) (DHCPHost, bool) {
	name, ok := d.label(b, "host")
	if !ok || d.twice(first, b, k.what+": host", name) {
		return DHCPHost{}, false
	}
	h := d.block(k.path+"/host/"+name, k.what+`: host "`+name+`"`, b.Body, blockSpan(b), nil)
	complete := h.need("mac", "address")
	out := DHCPHost{Name: name, Addr: h.address("address")}
	text := h.text("mac", "")
	if !complete {
		h.finish()
		return DHCPHost{}, false
	}
	mac, err := ParseMAC(text)
	if err != nil {
		h.fail(h.body.Attributes["mac"], `such as "52:54:00:12:34:56"`, "%v", err)
	}
	out.MAC = mac
	h.finish()
	return out, true
}

// addrs is a list of addresses.
func (k *block) addrs(name string) []netip.Addr {
	var out []netip.Addr
	for _, s := range k.list(name, true, name+` = ["10.66.0.5"]`) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			k.fail(k.body.Attributes[name], "", "%q is not an address", clip(s))
			continue
		}
		out = append(out, a)
	}
	return out
}

// flagOr is flag with what holds when nothing is said.
func (k *block) flagOr(name string, missing bool) bool {
	if k.body.Attributes[name] == nil {
		k.asked[name] = true
		return missing
	}
	return k.flag(name)
}
