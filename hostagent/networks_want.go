package hostagent

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/spec"
)

// NetworksOf is the pure part: what s wants of this host's networks. Every
// host carries every network, so that a jail placed on it never waits.
func NetworksOf(s *fsm.State) netd.Config {
	var c netd.Config
	for _, n := range s.Networks.All {
		out := netd.Network{Name: n.Name, ID: n.ID, Subnet: n.Subnet, Subnet6: n.Subnet6, NAT: n.NAT, Allow: n.Allow, Open: openOf(n.Open)}
		for _, p := range n.Publish {
			four, six := membersOf(s, n.Name, p.Service)
			out.Publish = append(out.Publish, netd.Publish{HostPort: p.Port, Proto: p.Proto, Members: four, Members6: six,
				Name: p.Name, Shared: p.Shared, HTTP: p.Mode == spec.ModeHTTP, Drain: cmp.Or(p.Drain, spec.DefaultDrain)})
		}
		c.Networks = append(c.Networks, out)
	}
	return c
}

// openOf are allow blocks for the driver; what cannot be read opens nothing (Validate has refused it).
func openOf(open []spec.Open) (out []netd.Open) {
	for _, o := range open {
		d := netd.Open{From: o.From}
		for _, text := range o.Ports {
			if p, err := spec.ParsePorts(text); err == nil {
				d.Ports = append(d.Ports, netd.Ports{First: p.First, Last: p.Last, Proto: p.Proto})
			}
		}
		out = append(out, d)
	}
	return out
}

// membersOf lists the healthy members of a service in one network, sorted, by
// the family of their addresses.
func membersOf(s *fsm.State, network, service string) (four, six []netip.AddrPort) {
	for name, j := range s.Jails.All {
		i := slices.IndexFunc(j.Addrs, func(a fsm.Addr) bool { return a.Network == network })
		if i < 0 {
			continue
		}
		run, ok := s.Runs.Get(name)
		if !ok || run.Phase != fsm.Running || run.Health != fsm.HealthHealthy {
			continue
		}
		for _, sv := range j.Spec.Services {
			if sv.Name != service {
				continue
			}
			four = append(four, netip.AddrPortFrom(j.Addrs[i].Addr, sv.Port))
			if a := j.Addrs[i].Addr6; a.IsValid() {
				six = append(six, netip.AddrPortFrom(a, sv.Port))
			}
		}
	}
	slices.SortFunc(four, netip.AddrPort.Compare)
	slices.SortFunc(six, netip.AddrPort.Compare)
	return four, six
}
