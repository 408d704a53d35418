package netd

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Config is the whole wish for the networks of this host. A network that is not in it is removed.
type Config struct {
	Networks []Network // any order; names and ids are unique
	Mesh     *Mesh     // nil: nothing leads to other hosts
	Trunk    string    // NIC of the host that carries the VLANs of networks; "": none
}

// Mesh is the way to other hosts: a device that somebody else makes (netd/mesh), and who is behind it.
type Mesh struct {
	Device      string       // interface name, at most 15 characters
	Addr, Addr6 netip.Addr   // this host's own on the mesh
	All, All6   netip.Prefix // those of all hosts
}

// Remote is an address of a meshed network that another host runs. Reach makes the way to it.
type Remote struct {
	Network string // name of a network that was Set with Meshed
	Addr    netip.Addr
}

// Network is one L2 segment of this host with its router.
type Network struct {
	Name    string       // as the user wrote it; for messages and Allow
	ID      string       // 8 lower-case hex digits, unique on this machine
	Subnet  netip.Prefix // IPv4, at most /30; first address: gateway, second: this host
	Subnet6 netip.Prefix // IPv6, at most /126; zero: the network carries no IPv6 at all
	MTU     int          // bytes, 1280..65535; 0 is 1500
	NAT     bool         // jails reach the outside through the router
	Publish []Publish    // ports of the host
	Open    []Open       // networks whose jails may connect to some ports of this one
	Allow   []string     // names of networks whose jails may connect to jails of this one; unknown ones are ignored
	Meshed  bool         // it goes on on other hosts, by Config.Mesh
	Inet    string       // NIC of the host on which its router has an address of its own outside, which somebody else gets (netd/uplink); "": none. Wants NAT
	VLAN    int          // 1..4094: it goes on on other hosts, by this VLAN of Config.Trunk; 0: it does not. Not with Meshed
}

// Open lets jails of the network From connect to some ports.
type Open struct {
	From  string // an unknown name is ignored
	Ports []Ports
}

// Ports is a range of ports of one protocol.
type Ports struct {
	First, Last uint16 // 1..65535, First <= Last
	Proto       string // "tcp" or "udp"
}

// Publish forwards one port of the host to members, each new connection to the next.
type Publish struct {
	HostPort uint16 // 1..65535
	Proto    string // "tcp" or "udp"; "" is tcp
	Members  []netip.AddrPort
	Members6 []netip.AddrPort // for who comes by IPv6; in Subnet6
	Name     string           // for words only
	Shared   bool             // other networks that say so too may have the same port
	HTTP     bool             // the router itself listens there: a proxy, which somebody else runs
	Drain    time.Duration    // how long connections to a member that left go on; 0 is for ever
}

// NSConfig is the whole wish for the network namespace of one jail.
type NSConfig struct {
	ID    string // 8 lower-case hex digits of the jail's uuid, unique on this machine
	Name  string // for messages
	Ports []Port // NIC numbers are unique
}

// Port is one interface of a jail.
type Port struct {
	Network string     // name of a network that was Set
	NIC     int        // 0..9: eth0..eth9; the lowest one has the default route
	MAC     MAC        // zero: MACOf(ID, NIC)
	Addr    netip.Addr // in the network's Subnet
	Addr6   netip.Addr // in the network's Subnet6; zero: none
}

// Gateway is the first address of the subnet; it belongs to the router.
func (n Network) Gateway() netip.Addr { return nth(n.Subnet, 1) }

// HostAddr is the second address of the subnet; it belongs to the host.
func (n Network) HostAddr() netip.Addr { return nth(n.Subnet, 2) }

// Gateway6 is the first address of Subnet6, or the zero Addr.
func (n Network) Gateway6() netip.Addr { return nth(n.Subnet6, 1) }

// HostAddr6 is the second address of Subnet6, or the zero Addr.
func (n Network) HostAddr6() netip.Addr { return nth(n.Subnet6, 2) }

func (n Network) mtu() int {
	if n.MTU == 0 {
		return 1500
	}
	return n.MTU
}

func (p Publish) proto() string {
	if p.Proto == "" {
		return "tcp"
	}
	return p.Proto
}

func nth(p netip.Prefix, n int) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

var (
	idPattern       = regexp.MustCompile(`^[0-9a-f]{8}$`)
	instancePattern = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
	nicPattern      = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,15}$`)
	namePattern     = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// check returns an error for the first thing in n that cannot be made so.
func (n Network) check() error {
	switch {
	case !namePattern.MatchString(n.Name):
		return fmt.Errorf("network %q: not a name (lower-case letters, digits and hyphens)", n.Name)
	case !idPattern.MatchString(n.ID):
		return fmt.Errorf("network %s: id %q is not 8 hex digits", n.Name, n.ID)
	case !n.Subnet.IsValid() || !n.Subnet.Addr().Is4() || n.Subnet.Bits() > 30 || n.Subnet.Bits() < 1:
		return fmt.Errorf("network %s: subnet %v is not an IPv4 prefix between /1 and /30", n.Name, n.Subnet)
	case n.Subnet6.IsValid() && (!n.Subnet6.Addr().Is6() || n.Subnet6.Addr().Is4In6() || n.Subnet6.Bits() > 126 || n.Subnet6.Bits() < 1):
		return fmt.Errorf("network %s: subnet6 %v is not an IPv6 prefix between /1 and /126", n.Name, n.Subnet6)
	case n.MTU != 0 && (n.MTU < 1280 || n.MTU > 65535):
		return fmt.Errorf("network %s: mtu %d is not between 1280 and 65535", n.Name, n.MTU)
	case n.Inet != "" && (!n.NAT || !nicPattern.MatchString(n.Inet)):
		return fmt.Errorf("network %s: an uplink by interface %q: it is for networks with NAT, and a name has at most 15 characters", n.Name, n.Inet)
	case n.VLAN < 0 || n.VLAN > 4094:
		return fmt.Errorf("network %s: vlan %d is not between 1 and 4094", n.Name, n.VLAN)
	case n.VLAN != 0 && n.Meshed:
		return fmt.Errorf("network %s: it cannot go over the mesh and over vlan %d", n.Name, n.VLAN)
	}
	for _, p := range n.Publish {
		if p.HostPort == 0 || (p.proto() != "tcp" && p.proto() != "udp") {
			return fmt.Errorf("network %s: publish %d/%s: not a tcp or udp port", n.Name, p.HostPort, p.Proto)
		}
		for _, m := range p.Members {
			if !n.Subnet.Contains(m.Addr()) || m.Port() == 0 {
				return fmt.Errorf("network %s: publish %d: member %v is not in %v", n.Name, p.HostPort, m, n.Subnet)
			}
		}
		for _, m := range p.Members6 {
			if !n.Subnet6.IsValid() || !n.Subnet6.Contains(m.Addr()) || m.Port() == 0 {
				return fmt.Errorf("network %s: publish %d: member %v is not in %v", n.Name, p.HostPort, m, n.Subnet6)
			}
		}
	}
	for _, o := range n.Open {
		for _, p := range o.Ports {
			if p.First == 0 || p.Last < p.First || (p.Proto != "tcp" && p.Proto != "udp") {
				return fmt.Errorf("network %s: open to %s: %d-%d/%s: not tcp or udp ports", n.Name, o.From, p.First, p.Last, p.Proto)
			}
		}
	}
	return nil
}

// carries says why c has no way for n to other hosts, if n wants one.
func (c Config) carries(n Network) error {
	switch {
	case n.VLAN != 0 && !nicPattern.MatchString(c.Trunk):
		return fmt.Errorf("network %s: vlan %d needs the NIC that carries it: set -vlan-nic on this host", n.Name, n.VLAN)
	case n.Meshed && (c.Mesh == nil || !nicPattern.MatchString(c.Mesh.Device) || !c.Mesh.Addr.Is4() || !c.Mesh.All.IsValid()):
		return fmt.Errorf("network %s: this host has no overlay to carry it", n.Name)
	}
	return nil
}

// holder is the network that has a published port.
type holder struct {
	network string
	shared  bool
}

// normalize returns the networks that can be made so, masked and sorted by name, and an error for each other one.
func (c Config) normalize() (ok []Network, errs []error) {
	nets := slices.Clone(c.Networks)
	slices.SortStableFunc(nets, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	ports := map[string]holder{}
	for _, n := range nets {
		err := n.check()
		if err == nil {
			err = c.carries(n)
		}
		for _, o := range ok {
			switch {
			case err != nil:
			case o.Name == n.Name || o.ID == n.ID:
				err = fmt.Errorf("network %s (id %s) is there twice, see network %s (id %s)", n.Name, n.ID, o.Name, o.ID)
			case o.Subnet.Overlaps(n.Subnet), o.Subnet6.IsValid() && n.Subnet6.IsValid() && o.Subnet6.Overlaps(n.Subnet6):
				err = fmt.Errorf("network %s: its subnet overlaps the one of network %s", n.Name, o.Name)
			}
		}
		if err != nil {
			errs = append(errs, &NetworkError{Network: n.Name, Err: err})
			continue
		}
		n.Subnet, n.Subnet6 = n.Subnet.Masked(), n.Subnet6.Masked()
		var keep []Publish
		for _, p := range n.Publish {
			key := portKeyOf(p)
			if first, taken := ports[key]; taken && (first.network == n.Name || !first.shared || !p.Shared) {
				errs = append(errs, &NetworkError{Network: n.Name, Err: fmt.Errorf(
					"network %s: port %s is published by network %s already: choose another port", n.Name, key, first.network)})
				continue
			}
			ports[key] = holder{n.Name, p.Shared}
			p.Proto, p.Members, p.Members6 = p.proto(), slices.Clone(p.Members), slices.Clone(p.Members6)
			keep = append(keep, p)
		}
		slices.SortFunc(keep, func(a, b Publish) int {
			return int(a.HostPort) - int(b.HostPort) + 1<<17*strings.Compare(a.Proto, b.Proto)
		})
		n.Publish = keep
		ok = append(ok, n)
	}
	return ok, errs
}

// check returns an error for the first thing in c that cannot be made so.
func (c NSConfig) check(nets map[string]Network) error {
	if !idPattern.MatchString(c.ID) {
		return fmt.Errorf("jail %s: id %q is not 8 hex digits", c.Name, c.ID)
	}
	seen := [10]bool{}
	for _, p := range c.Ports {
		n, ok := nets[p.Network]
		switch {
		case p.NIC < 0 || p.NIC > 9 || seen[p.NIC]:
			return fmt.Errorf("jail %s: nic %d is not a number of its own between 0 and 9", c.Name, p.NIC)
		case !ok:
			return fmt.Errorf("jail %s: network %q is not set on this host", c.Name, p.Network)
		case !n.Subnet.Contains(p.Addr) || p.Addr == n.Gateway() || p.Addr == n.HostAddr():
			return fmt.Errorf("jail %s: address %v is not one for jails in %v of network %s", c.Name, p.Addr, n.Subnet, n.Name)
		case p.Addr6.IsValid() && (!n.Subnet6.IsValid() || !n.Subnet6.Contains(p.Addr6) || p.Addr6 == n.Gateway6() || p.Addr6 == n.HostAddr6()):
			return fmt.Errorf("jail %s: address %v is not one for jails in %v of network %s", c.Name, p.Addr6, n.Subnet6, n.Name)
		case p.MAC[0]&1 != 0:
			return fmt.Errorf("jail %s: %v is a multicast MAC", c.Name, p.MAC)
		}
		seen[p.NIC] = true
	}
	return nil
}

// mac is the MAC that the port has in the jail with this id.
func (p Port) mac(id string) MAC {
	if p.MAC == (MAC{}) {
		return MACOf(id, p.NIC)
	}
	return p.MAC
}

// valid returns those addresses that are set.
func valid(addrs ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !a.IsValid() })
}
