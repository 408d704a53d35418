package netsock

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Who is the jail that a listener belongs to, and the network whose socket
// it is.
type Who struct {
	Jail    fsm.JailName
	UUID    string // a jail of the same name that was declared anew is another
	Network string
}

// Answer makes the reply to r. It is pure, and looks at nothing that w does
// not reach. Leave is only checked: who called proposes it.
func Answer(s *fsm.State, w Who, r Request) Reply {
	if r.V != Version {
		return refuse(r, "version", "version %d is not spoken here, %d is", r.V, Version)
	}
	j, ok := s.Jails.Get(string(w.Jail))
	n, there := s.Networks.Get(w.Network)
	if !ok || j.UUID != w.UUID || !there || !inNetwork(j, w.Network) {
		return refuse(r, "gone", "jail %s is not in network %s any more", w.Jail, w.Network)
	}
	out := Reply{V: Version, ID: r.ID, Type: r.Type}
	switch r.Type {
	case TypeSelf:
		out.Self = self(s, w, j, n)
	case TypePeers:
		out.Peers, out.Next = peers(s, w, r.After)
	case TypePeer:
		if out.Peers = peerNamed(s, w, r.Name); len(out.Peers) == 0 {
			return refuse(r, "not_found", "no jail of that name is reached from here")
		}
	case TypeLeave:
	default:
		return refuse(r, "unknown_type", "want one of %s", strings.Join([]string{TypeSelf, TypePeers, TypePeer, TypeLeave}, ", "))
	}
	return out
}

func refuse(r Request, code, format string, args ...any) Reply {
	return Reply{V: Version, ID: r.ID, Type: TypeError, Code: code, Text: fmt.Sprintf(format, args...)}
}

func inNetwork(j *fsm.Jail, network string) bool {
	return slices.ContainsFunc(j.Addrs, func(a fsm.Addr) bool { return a.Network == network })
}

func self(s *fsm.State, w Who, j *fsm.Jail, n *fsm.Network) *Self {
	out := &Self{
		Name: string(w.Jail), Hostname: string(w.Jail), FQDN: fqdn(s, w.Jail, w.Network), UUID: j.UUID, Network: w.Network, Domain: s.Cluster.Domain,
		Gateway: n.Gateway, Gateway6: n.Gateway6, Subnet: n.Subnet, Subnet6: n.Subnet6, Reachable: reachable(s, w.Network), Index: s.Index,
	}
	if j.Spec.Hostname != "" {
		out.Hostname = j.Spec.Hostname
	}
	if run, ok := s.Runs.Get(string(w.Jail)); ok {
		if h, ok := s.Hosts.Get(string(run.Host)); ok {
			out.Host = h.Name
		}
	}
	for i, a := range j.Addrs {
		if a.Network == w.Network {
			out.NICs = append(out.NICs, NIC{Interface: fmt.Sprintf("eth%d", i), MAC: a.MAC, Address: a.Addr, Address6: a.Addr6})
		}
	}
	return out
}

func fqdn(s *fsm.State, jail fsm.JailName, network string) string {
	return string(jail) + "." + network + "." + s.Cluster.Domain
}

// reachable lists the networks that jails of network may connect to: their
// own, and those that allow it, all ports or some. Sorted.
func reachable(s *fsm.State, network string) []string {
	var out []string
	for name, n := range s.Networks.All {
		if name == network || slices.Contains(n.Allow, network) ||
			slices.ContainsFunc(n.Open, func(o spec.Open) bool { return o.From == network }) {
			out = append(out, name)
		}
	}
	return out
}

// peers is one page of jails in the networks that w reaches, without w itself:
// ordered by network, then address. after is NETWORK/ADDRESS of the last one.
func peers(s *fsm.State, w Who, after string) (page []Peer, next string) {
	from, text, _ := strings.Cut(after, "/")
	begin, _ := netip.ParseAddr(text) // nonsense is before all addresses
	last := ""
	for _, network := range reachable(s, w.Network) {
		if network < from {
			continue
		}
		for _, l := range s.Leases.Prefix(network + "/") {
			seen := network == from && l.Addr.Compare(begin) <= 0
			if seen || l.Jail == "" || l.Jail == w.Jail || l.Addr.Is6() {
				continue
			}
			if len(page) == pagePeers {
				return page, last
			}
			if p, ok := peerOf(s, l.Jail, network); ok {
				page, last = append(page, p), network+"/"+l.Addr.String()
			}
		}
	}
	return page, ""
}

func peerNamed(s *fsm.State, w Who, name string) (out []Peer) {
	if fsm.JailName(name) == w.Jail {
		return nil
	}
	for _, network := range reachable(s, w.Network) {
		if p, ok := peerOf(s, fsm.JailName(name), network); ok {
			out = append(out, p)
		}
	}
	return out
}

func peerOf(s *fsm.State, name fsm.JailName, network string) (Peer, bool) {
	j, ok := s.Jails.Get(string(name))
	if !ok {
		return Peer{}, false
	}
	i := slices.IndexFunc(j.Addrs, func(a fsm.Addr) bool { return a.Network == network })
	if i < 0 {
		return Peer{}, false
	}
	p := Peer{Name: string(name), Network: network, Address: j.Addrs[i].Addr, Address6: j.Addrs[i].Addr6,
		FQDN: fqdn(s, name, network), Health: string(fsm.HealthUnknown)}
	if run, ok := s.Runs.Get(string(name)); ok && run.Phase == fsm.Running {
		p.Health = string(run.Health)
	}
	return p, true
}
