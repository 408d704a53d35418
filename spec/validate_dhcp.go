package spec

import (
	"fmt"
	"net/netip"
)

// checkDHCP checks the dhcp block of one network.
func (c *checker) checkDHCP(n *Network, path, what string) {
	d := n.DHCP
	if d == nil {
		return
	}
	path, what = path+"/dhcp", what+": dhcp"
	if d.Lease != 0 {
		c.duration(path+"/lease", what+": lease", d.Lease, MinLease, MaxLease)
	}
	if d.MTU != 0 && (d.MTU < 576 || d.MTU > 9216) {
		c.bad(path+"/mtu", "576 to 9216", "%s: the mtu %d is not possible", what, d.MTU)
	}
	if len(d.Bootfile) > 127 || !cleanText(d.Bootfile) {
		c.bad(path+"/bootfile", "", "%s: the bootfile has more than 127 bytes or a control character", what)
	}
	if d.NextServer.IsValid() && !d.NextServer.Is4() {
		c.bad(path+"/next_server", "", "%s: the next_server %s is not IPv4", what, d.NextServer)
	}
	c.checkDHCPRanges(n, path, what)
	c.checkDHCPHosts(n, path, what)
	c.checkDHCPLists(n, path, what)
}

func (c *checker) checkDHCPRanges(n *Network, path, what string) {
	if len(n.DHCP.Ranges) > maxRanges {
		c.bad(path+"/range", "", "%s: %d ranges, %d are the most", what, len(n.DHCP.Ranges), maxRanges)
		return
	}
	for i, r := range n.DHCP.Ranges {
		switch {
		case !r.First.Is4() || !r.Last.Is4() || r.Last.Less(r.First):
			c.bad(path+"/range", "FIRST-LAST, the lower address first", "%s: the range %s has no address in it", what, r)
			continue
		case !n.Subnet.Contains(r.First) || !n.Subnet.Contains(r.Last):
			c.bad(path+"/range", "", "%s: the range %s is not in %s", what, r, n.Subnet)
		case r.Contains(n.Gateway()) || r.Contains(n.HostAddr()):
			c.bad(path+"/range", "the first two addresses of a subnet are the gateway's and the host's", "%s: the range %s has %s or %s in it", what, r, n.Gateway(), n.HostAddr())
		}
		for _, o := range n.DHCP.Ranges[:i] {
			if o.Contains(r.First) || o.Contains(r.Last) || r.Contains(o.First) {
				c.bad(path+"/range", "", "%s: the ranges %s and %s overlap", what, o, r)
			}
		}
	}
}

func (c *checker) checkDHCPHosts(n *Network, path, what string) {
	if len(n.DHCP.Hosts) > maxDHCPHosts {
		c.bad(path, "", "%s: %d hosts, %d are the most", what, len(n.DHCP.Hosts), maxDHCPHosts)
		return
	}
	names, macs, taken := map[string]bool{}, map[string]string{}, map[netip.Addr]string{}
	for _, h := range n.DHCP.Hosts {
		path, what := path+"/host/"+h.Name, fmt.Sprintf("%s: host %q", what, clip(h.Name))
		c.err(path, what, ValidName(h.Name))
		mac, err := ParseMAC(h.MAC)
		switch {
		case err != nil:
			c.err(path+"/mac", what, err)
		case mac != h.MAC:
			c.bad(path+"/mac", "", "%s: write the mac as %s", what, mac)
		case macs[mac] != "":
			c.bad(path+"/mac", "", "%s: the mac %s is that of host %q", what, mac, macs[mac])
		}
		if names[h.Name] {
			c.bad(path, "", "%s is there twice", what)
		}
		if !h.Addr.Is4() {
			c.bad(path+"/address", "", "%s: an IPv4 address is needed", what)
		} else {
			c.err(path+"/address", what, n.Assignable(h.Addr))
		}
		if o := taken[h.Addr]; o != "" {
			c.bad(path+"/address", "", "%s: the address %s is that of host %q", what, h.Addr, o)
		}
		names[h.Name], macs[mac], taken[h.Addr] = true, h.Name, h.Name
	}
}

func (c *checker) checkDHCPLists(n *Network, path, what string) {
	d := n.DHCP
	for _, l := range []struct {
		name string
		n    int
	}{{"dns", len(d.DNS)}, {"ntp", len(d.NTP)}, {"search", len(d.Search)}, {"routes", len(d.Routes)}} {
		if l.n > maxDHCPList {
			c.bad(path+"/"+l.name, "", "%s: %s has %d elements, %d are the most", what, l.name, l.n, maxDHCPList)
		}
	}
	for _, a := range append(append([]netip.Addr(nil), d.DNS...), d.NTP...) {
		if !a.Is4() {
			c.bad(path, "", "%s: %s is not an IPv4 address", what, a)
		}
	}
	for _, s := range d.Search {
		c.err(path+"/search", what+": search", ValidDomain(s))
	}
	for _, r := range d.Routes {
		if !r.To.IsValid() || !r.To.Addr().Is4() || r.To.Masked() != r.To || !n.Subnet.Contains(r.Via) {
			c.bad(path+"/routes", "such as \"10.1.0.0/16 via 10.66.0.9\", by a neighbour", "%s: the route %s via %s is no IPv4 route by an address of %s", what, r.To, r.Via, n.Subnet)
		}
	}
}
