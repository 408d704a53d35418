package spec

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

func (c *checker) checkNetworks() {
	for i := range c.w.Networks {
		n := &c.w.Networks[i]
		path, what := "network/"+n.Name, fmt.Sprintf("network %q", clip(n.Name))
		c.err(path, what, ValidName(n.Name))
		if n.Name == "none" {
			c.bad(path, "", `network "none": the name means "no network", choose another`)
		}
		c.err(path+"/subnet", what, ValidSubnet(n.Subnet))
		if n.Subnet6.IsValid() {
			c.err(path+"/subnet6", what, ValidSubnet6(n.Subnet6))
		}
		c.checkOverlay(n, path, what)
		for _, a := range n.Allow {
			c.err(path+"/allow", what+": allow", ValidName(a))
			if a == n.Name {
				c.bad(path+"/allow", "jails of one network always reach each other", "%s: allow names the network itself", what)
			}
		}
		c.checkOpen(n, path, what)
		c.checkPublishParts(n, path, what)
		c.checkDHCP(n, path, what)
	}
	c.checkOverlaps()
}

func (c *checker) checkOverlay(n *Network, path, what string) {
	switch {
	case n.Overlay != "" && n.Overlay != OverlayNone && n.Overlay != "wireguard":
		c.bad(path+"/overlay", `use "wireguard" (the default) or "none"`, "%s: the overlay %q is not known", what, clip(n.Overlay))
	case n.VLAN != 0 && n.Overlay != "" && n.Overlay != OverlayNone:
		c.bad(path+"/vlan", "leave one of them out: a VLAN needs no tunnel", "%s: overlay %q and vlan %d", what, n.Overlay, n.VLAN)
	case n.VLAN < 0 || n.VLAN > 4094:
		c.bad(path+"/vlan", "a VLAN has a number from 1 to 4094", "%s: the vlan %d does not exist", what, n.VLAN)
	}
	if n.VLAN == 0 {
		return
	}
	for i := range c.w.Networks {
		if o := &c.w.Networks[i]; o.Name != n.Name && o.VLAN == n.VLAN && o.Name < n.Name {
			c.bad(path+"/vlan", "give each network a VLAN of its own", "%s: vlan %d is that of network %q", what, n.VLAN, o.Name)
		}
	}
}

func (c *checker) checkPublishParts(n *Network, path, what string) {
	names := make(map[string]bool)
	for _, p := range n.Publish {
		path, what := path+"/publish/"+p.Name, fmt.Sprintf("%s: publish %q", what, clip(p.Name))
		c.err(path, what, ValidName(p.Name))
		c.err(path+"/service", what, ValidName(p.Service))
		if names[p.Name] {
			c.bad(path, "", "%s is there twice", what)
		}
		names[p.Name] = true
		if p.Port == 0 {
			c.bad(path+"/port", "", "%s: the port must be 1 to 65535", what)
		}
		c.checkProto(path, what, p.Proto)
		switch {
		case p.Mode != "" && p.Mode != ModeHTTP:
			c.bad(path+"/mode", `use "http", or leave it out: connections are balanced as they are (layer 4)`, "%s: the mode %q is not known", what, clip(p.Mode))
		case p.Mode == ModeHTTP && p.Proto == "udp":
			c.bad(path+"/mode", "", "%s: HTTP goes over tcp, not udp", what)
		}
		if p.Drain != 0 {
			c.duration(path+"/drain", what+": drain", p.Drain, time.Second, time.Hour)
		}
	}
}

func (c *checker) checkProto(path, what, proto string) {
	if proto != "" && proto != "tcp" && proto != "udp" {
		c.bad(path+"/proto", "use tcp or udp", "%s: the protocol %q is not known", what, clip(proto))
	}
}

// checkOverlaps walks all subnets in address order: prefixes are nested or
// disjoint, so one overlaps an earlier one only if the last that was not
// nested in another contains it.
func (c *checker) checkOverlaps() {
	type subnet struct {
		p     netip.Prefix
		n     *Network
		pos   int // in the file
		field string
	}
	var all []subnet
	for i := range c.w.Networks {
		n := &c.w.Networks[i]
		if n.Subnet.IsValid() {
			all = append(all, subnet{n.Subnet.Masked(), n, i, "subnet"})
		}
		if n.Subnet6.IsValid() {
			all = append(all, subnet{n.Subnet6.Masked(), n, i, "subnet6"})
		}
	}
	slices.SortStableFunc(all, func(a, b subnet) int {
		return cmp.Or(a.p.Addr().Compare(b.p.Addr()), a.p.Bits()-b.p.Bits())
	})
	for i, cover := 1, 0; i < len(all); i++ {
		first, second := all[cover], all[i]
		if !first.p.Overlaps(second.p) {
			cover = i
			continue
		}
		if first.pos > second.pos { // blame the one that was written later
			first, second = second, first
		}
		c.bad("network/"+second.n.Name+"/"+second.field, "give each network a subnet of its own",
			"network %q: %s %s overlaps %s of network %q", second.n.Name, second.field, second.p, first.p, first.n.Name)
	}
}

// checkPublish looks for two publish blocks on one port of the hosts.
func (c *checker) checkPublish() {
	type holder struct {
		network, text string
		shared        bool
	}
	taken := make(map[string]holder)
	for i := range c.w.Networks {
		n := &c.w.Networks[i]
		for _, p := range n.Publish {
			path := "network/" + n.Name + "/publish/" + p.Name
			key := fmt.Sprintf("%d/%s", p.Port, orTCP(p.Proto))
			other, dup := taken[key]
			switch {
			case !dup:
				taken[key] = holder{n.Name, fmt.Sprintf("publish %q of network %q", p.Name, n.Name), p.Shared}
			case other.network == n.Name || !other.shared || !p.Shared:
				c.bad(path+"/port", "each port of the hosts can be published once, or by several networks that all say shared = true",
					"network %q: publish %q: port %s is already published by %s", n.Name, p.Name, key, other.text)
			}
		}
	}
}

func orTCP(proto string) string {
	if proto == "" {
		return "tcp"
	}
	return proto
}
