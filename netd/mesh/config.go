package mesh

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Config is the whole wish. Without Peers the device goes.
type Config struct {
	Private Key
	Port    uint16         // UDP, 1..65535
	MTU     int            // bytes of a packet inside, 1280..65455
	Addrs   []netip.Prefix // this host's own on the mesh, at most one of each family, with the range of all hosts
	Peers   []Peer         // any order; keys are unique
}

// Peer is one key of another host.
type Peer struct {
	Name     string         // of the host; for messages
	Key      Key            // public
	Endpoint netip.AddrPort // where its packets go until it is heard from elsewhere
	Allowed  []netip.Addr   // sorted; what is behind it, and who it may speak for. An address is in one peer only
}

// PeerView is one peer as the device has it.
type PeerView struct {
	Key       Key
	Endpoint  string       // where its packets go now
	Allowed   []netip.Addr // sorted
	Handshake time.Time    // the newest; zero: none yet
	Received  int64        // bytes
	Sent      int64        // bytes
}

// View is the device as it was found.
type View struct {
	Kind   string // KindKernel or KindUserspace; "" while there is none
	Device string // name of the interface
	Public Key
	Peers  []PeerView // sorted by key
}

// What a device can be.
const (
	KindKernel    = "kernel"
	KindUserspace = "userspace"
)

// DefaultMTU fits into 1500 bytes with all that WireGuard and IPv6 put around it: 40 + 8 + 32.
const DefaultMTU = 1420

func (c Config) check() error {
	if c.Private == (Key{}) {
		return errors.New("overlay: no private key")
	}
	if c.Port == 0 {
		return errors.New("overlay: no port")
	}
	if c.MTU < 1280 || c.MTU > 65455 {
		return fmt.Errorf("overlay: mtu %d is not between 1280 and 65455", c.MTU)
	}
	keys, addrs := map[Key]string{c.Private.Public(): "this host"}, map[netip.Addr]string{}
	for _, p := range c.Peers {
		if other, twice := keys[p.Key]; twice {
			return fmt.Errorf("overlay: hosts %s and %s have one key: rekey one of them", other, p.Name)
		}
		keys[p.Key] = p.Name
		for _, a := range p.Allowed {
			if other, twice := addrs[a]; twice {
				return fmt.Errorf("overlay: address %v is on host %s and on host %s", a, other, p.Name)
			}
			addrs[a] = p.Name
		}
	}
	return nil
}

// change is what brings a device from one Config to another.
type change struct {
	Private *Key
	Port    *uint16
	Replace bool // what the device has is not known: its peers go first
	Peers   []peerChange
	Remove  []Key // after Peers, whose addresses may have been theirs
	Dress   bool  // addresses or MTU of the interface
}

// peerChange is about one peer that stays or comes.
type peerChange struct {
	Key      Key
	Endpoint netip.AddrPort // zero: as it is
	Add, Del []netip.Addr
	Allowed  []netip.Addr // all, for devices that cannot take single addresses away
	Greet    bool         // shake hands now: nothing of the old session is valid
}

func (c change) empty() bool {
	return c.Private == nil && c.Port == nil && !c.Replace && len(c.Peers) == 0 && len(c.Remove) == 0 && !c.Dress
}

// delta is pure. have is nil when nobody knows what the device has. After a change of the private key each peer is greeted:
// one that was told of the new key early would otherwise wait for a packet of ours.
func delta(have *Config, want Config) change {
	c := change{}
	if have == nil {
		c.Replace, have = true, &Config{}
	}
	if have.Private != want.Private {
		c.Private = &want.Private
	}
	if have.Port != want.Port {
		c.Port = &want.Port
	}
	c.Dress = have.MTU != want.MTU || !slices.Equal(have.Addrs, want.Addrs)
	known := map[Key]Peer{}
	for _, p := range have.Peers {
		known[p.Key] = p
	}
	peers := slices.Clone(want.Peers)
	slices.SortFunc(peers, func(a, b Peer) int { return slices.Compare(a.Key[:], b.Key[:]) })
	for _, p := range peers {
		old, there := known[p.Key]
		delete(known, p.Key)
		pc := peerChange{Key: p.Key, Allowed: p.Allowed, Greet: have.Private != (Key{}) && c.Private != nil && len(p.Allowed) > 0}
		if !there || old.Endpoint != p.Endpoint {
			pc.Endpoint = p.Endpoint
		}
		pc.Add, pc.Del = missing(old.Allowed, p.Allowed), missing(p.Allowed, old.Allowed)
		if !there || pc.Endpoint.IsValid() || pc.Greet || len(pc.Add)+len(pc.Del) > 0 {
			c.Peers = append(c.Peers, pc)
		}
	}
	for k := range known {
		c.Remove = append(c.Remove, k)
	}
	slices.SortFunc(c.Remove, func(a, b Key) int { return slices.Compare(a[:], b[:]) })
	// Who loses addresses only comes last: they may have gone to another, and then there is nothing left to take.
	slices.SortStableFunc(c.Peers, func(a, b peerChange) int { return cmp.Compare(min(len(b.Add), 1), min(len(a.Add), 1)) })
	return c
}

// missing returns what of want is not in have; both are sorted.
func missing(have, want []netip.Addr) (out []netip.Addr) {
	for _, a := range want {
		if _, ok := slices.BinarySearchFunc(have, a, netip.Addr.Compare); !ok {
			out = append(out, a)
		}
	}
	return out
}
