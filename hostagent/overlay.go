package hostagent

import (
	"net/netip"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/netd"
	"github.com/rexcarcer/rexcarcer/netd/mesh"
)

// OverlayPeer is one key of another host, as State has it.
type OverlayPeer struct {
	Name     string
	Key      string // base64
	Endpoint string // HOST:PORT
	Allowed  []netip.Addr
}

// Overlay is what the State wants of this host's end of the overlay.
type Overlay struct {
	Self   *fsm.Overlay // nil: the log has no end of this host yet
	Peers  []OverlayPeer
	Remote []netd.Remote // sorted: each address of a meshed network that runs on a peer
}

// OverlayOf is pure. Each other host with an end is a peer, and behind it are its own addresses, those of its jails
// from the moment in which they are placed there until their Run is over, and those of the guests that it leased. So an
// address is behind one host at most: the State gives a jail one Run, and an address one jail or guest. A key that is to follow is a peer without addresses: who has it
// may shake hands, and nothing more yet.
func OverlayOf(s *fsm.State, host fsm.HostID) Overlay {
	o := Overlay{Self: selfOf(s, host)}
	if o.Self == nil {
		return o
	}
	guests := guestsByHost(s)
	for _, h := range s.Hosts.All {
		if h.ID == host || h.Overlay == nil {
			continue
		}
		four, six := h.Overlay.Addr(), h.Overlay.Addr6()
		p := OverlayPeer{Name: h.Name, Key: h.Overlay.Key, Endpoint: h.Overlay.Endpoint, Allowed: []netip.Addr{four, six}}
		for _, a := range s.AddrsOn(h.ID) {
			for _, addr := range a.Both() {
				p.Allowed = append(p.Allowed, addr)
				o.Remote = append(o.Remote, netd.Remote{Network: a.Network, Addr: addr})
			}
		}
		for _, g := range guests[h.ID] {
			p.Allowed = append(p.Allowed, g.Addr)
			o.Remote = append(o.Remote, netd.Remote{Network: g.Network, Addr: g.Addr})
		}
		slices.SortFunc(p.Allowed, netip.Addr.Compare)
		p.Allowed = slices.Compact(p.Allowed)
		o.Peers = append(o.Peers, p)
		if h.Overlay.Next != "" {
			o.Peers = append(o.Peers, OverlayPeer{Name: h.Name + " (next key)", Key: h.Overlay.Next, Endpoint: h.Overlay.Endpoint})
		}
	}
	slices.SortFunc(o.Remote, func(a, b netd.Remote) int { return a.Addr.Compare(b.Addr) })
	o.Remote = slices.Compact(o.Remote)
	return o
}

// guestsByHost are those that others reach by the overlay, by the host whose router they asked last. It walks over all guests.
func guestsByHost(s *fsm.State) map[fsm.HostID][]*fsm.Guest {
	all := map[fsm.HostID][]*fsm.Guest{}
	for _, g := range s.Guests.All {
		if n, ok := s.Networks.Get(g.Network); ok && n.Meshed() && g.Live() {
			all[g.Host] = append(all[g.Host], g)
		}
	}
	return all
}

// selfOf is the host's own end as the log has it, nil if it has none.
func selfOf(s *fsm.State, host fsm.HostID) *fsm.Overlay {
	if me, ok := s.Hosts.Get(string(host)); ok {
		return me.Overlay
	}
	return nil
}

func hasPeers(s *fsm.State, host fsm.HostID) bool {
	for _, h := range s.Hosts.All {
		if h.ID != host && h.Overlay != nil {
			return true
		}
	}
	return false
}

// carry says of each network how it goes on on other hosts. A host that may have others later gives networks of the overlay
// its MTU from the beginning: a jail keeps what it was started with.
func carry(s *fsm.State, host fsm.HostID, conf *OverlayConfig, c *netd.Config) {
	c.Trunk = conf.VLANNIC
	if self := selfOf(s, host); self != nil && conf.Device != nil && hasPeers(s, host) {
		four, six := self.Addr(), self.Addr6()
		c.Mesh = &netd.Mesh{Device: conf.Device.Device(), Addr: four, All: fsm.OverlayRange, Addr6: six, All6: fsm.OverlayRange6}
	}
	for i := range c.Networks {
		n := &c.Networks[i]
		state, ok := s.Networks.Get(n.Name)
		switch {
		case !ok: // it is of this host alone
		case state.Meshed():
			if conf.Device != nil {
				n.MTU = conf.MTU
			}
			if n.Meshed = c.Mesh != nil; conf.LocalPorts {
				keepLocal(s, host, n)
			}
		default:
			n.VLAN = state.VLAN
			keepLocal(s, host, n)
		}
	}
}

// keepLocal takes members on other hosts out of published ports: what they answer would not come back by this router.
func keepLocal(s *fsm.State, host fsm.HostID, n *netd.Network) {
	if s.Hosts.Len() < 2 {
		return
	}
	here := map[netip.Addr]bool{}
	for _, r := range s.RunsOn(host) {
		if j, ok := s.Jails.Get(string(r.Jail)); ok {
			for _, a := range j.Addrs {
				here[a.Addr] = true
				here[a.Addr6] = true
			}
		}
	}
	for i := range n.Publish {
		elsewhere := func(m netip.AddrPort) bool { return !here[m.Addr()] }
		n.Publish[i].Members = slices.DeleteFunc(n.Publish[i].Members, elsewhere)
		n.Publish[i].Members6 = slices.DeleteFunc(n.Publish[i].Members6, elsewhere)
	}
}

// meshConfig is what the device is told.
func (o Overlay) meshConfig(conf *OverlayConfig, private mesh.Key, endpoint func(string) netip.AddrPort) (mesh.Config, error) {
	if o.Self == nil || len(o.Peers) == 0 {
		return mesh.Config{}, nil
	}
	four, six := o.Self.Addr(), o.Self.Addr6()
	c := mesh.Config{Private: private, Port: conf.Port, MTU: conf.MTU,
		Addrs: []netip.Prefix{netip.PrefixFrom(four, fsm.OverlayRange.Bits()), netip.PrefixFrom(six, fsm.OverlayRange6.Bits())}}
	for _, p := range o.Peers {
		key, err := mesh.ParseKey(p.Key)
		if err != nil {
			return mesh.Config{}, err
		}
		c.Peers = append(c.Peers, mesh.Peer{Name: p.Name, Key: key, Endpoint: endpoint(p.Endpoint), Allowed: p.Allowed})
	}
	return c, nil
}
