package netd

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
)

// ensureRouter makes the vnet jail of a router with both of its links. Its process needs neither bpf nor pf in its /dev: the
// rules are loaded from here, by the host's pfctl, into the pf of the holder's network.
func (d *freebsd) ensureRouter(ctx context.Context, l hostLinks, n plannedNetwork, plan []plannedNetwork, pf bool) error {
	holder := d.routerHolder(n.ID)
	if fresh, err := d.ensureHolder(ctx, holder); err != nil {
		return err
	} else if fresh { // its pf is empty, whatever an earlier one of this name had
		delete(d.applied, pfTarget{holder: holder}.String())
	}
	lan := pairWish{
		mark: mark{Instance: d.o.Instance, Network: n.ID, Jail: markRouter}, mtu: n.mtu(), bridge: bridgeName(n.ID), holder: holder,
		host:   end{name: routerPort(n.ID)},
		inside: end{name: lanName(n.ID), mac: MACOf(n.ID, macGateway), addrs: prefixes(n.Gateway(), n.Subnet, n.Gateway6(), n.Subnet6)},
	}
	if err := d.pair(ctx, l, lan); err != nil {
		return err
	}
	up := pairWish{
		mark: mark{Instance: d.o.Instance, Network: n.ID, Jail: markUplink}, mtu: 1500, holder: holder,
		host:   end{name: uplinkName(n.ID), mac: MACOf(n.ID, macUplinkHost), addrs: d.uplinkAddrs(n, false)},
		inside: end{name: outName(n.ID), mac: MACOf(n.ID, macUplink), addrs: d.uplinkAddrs(n, true)},
	}
	if err := d.pair(ctx, l, up); err != nil {
		return err
	}
	if err := d.gateway(ctx, holder, n.Uplink.Host); err != nil {
		return err
	}
	if n.v6() {
		if err := d.gateway(ctx, holder, n.Uplink.Host6); err != nil {
			return err
		}
	}
	if !pf { // without rules it forwards nothing: it is a resolver then
		return nil
	}
	if err := d.load(ctx, pfTarget{holder: holder}, routerText(n, d.others(n, plan))); err != nil {
		return err
	}
	return d.forward(ctx, holder, n.v6())
}

// forward lets a router forward; its vnet has a setting of its own.
func (d *freebsd) forward(ctx context.Context, holder string, v6 bool) error {
	names := []string{"net.inet.ip.forwarding=1"}
	if v6 {
		names = append(names, "net.inet6.ip6.forwarding=1")
	}
	for _, name := range names {
		if _, err := d.within(ctx, holder, sysctlPath, name); err != nil {
			return fmt.Errorf("set %s in %s: %w", name, holder, err)
		}
	}
	return nil
}

func (d *freebsd) uplinkAddrs(n plannedNetwork, router bool) []netip.Prefix {
	a, a6 := n.Uplink.Host, n.Uplink.Host6
	if router {
		a, a6 = n.Uplink.Router, n.Uplink.Router6
	}
	out := []netip.Prefix{netip.PrefixFrom(a, 31)}
	if n.v6() {
		out = append(out, netip.PrefixFrom(a6, 127))
	}
	return out
}

// others are the ranges that jails of n do not reach through the outside.
func (d *freebsd) others(n plannedNetwork, plan []plannedNetwork) []netip.Prefix {
	out := []netip.Prefix{d.o.LinkRange.Masked()}
	for _, o := range plan {
		if o.ID == n.ID {
			continue
		}
		out = append(out, o.Subnet)
		if o.Subnet6.IsValid() && n.v6() {
			out = append(out, o.Subnet6)
		}
	}
	return out
}

// peerRange numbers the links between routers, a /31 each. Only the two routers see it.
var (
	peerRange = netip.MustParsePrefix("198.19.128.0/18")
	peer6Base = netip.MustParseAddr("fd52:6578:4361:7264::")
)

const peerLinks = 8192

// peerLink is a link between the routers of two networks, Lo having the lesser id.
type peerLink struct {
	Lo, Hi plannedNetwork
	Index  uint32 // below peerLinks
}

// planPeers lists the links that the networks of done need, each with a number of its own.
func planPeers(plan []plannedNetwork, done map[string]Network) []peerLink {
	byID := map[string]plannedNetwork{}
	for _, n := range plan {
		if _, ok := done[n.Name]; ok {
			byID[n.ID] = n
		}
	}
	var out []peerLink
	for _, n := range byID {
		for _, p := range n.Peers {
			if o, ok := byID[p.ID]; ok && n.ID < o.ID {
				out = append(out, peerLink{Lo: n, Hi: o})
			}
		}
	}
	slices.SortFunc(out, func(a, b peerLink) int { return strings.Compare(a.Lo.ID+a.Hi.ID, b.Lo.ID+b.Hi.ID) })
	taken := map[uint32]bool{}
	for i := range out {
		h := fnv.New32a()
		_, _ = h.Write([]byte(out[i].Lo.ID + out[i].Hi.ID))
		at := h.Sum32() % peerLinks
		for taken[at] {
			at = (at + 1) % peerLinks
		}
		out[i].Index, taken[at] = at, true
	}
	return out
}

// addrs are those of both ends.
func (p peerLink) addrs() (lo, hi []netip.Prefix) {
	lo = []netip.Prefix{netip.PrefixFrom(addr4(peerRange, 2*p.Index), 31)}
	hi = []netip.Prefix{netip.PrefixFrom(addr4(peerRange, 2*p.Index+1), 31)}
	if p.Lo.v6() && p.Hi.v6() {
		six := peer6Base.As16()
		six[14], six[15] = byte(p.Index>>7), byte(p.Index<<1)
		lo6 := netip.AddrFrom16(six)
		lo, hi = append(lo, netip.PrefixFrom(lo6, 127)), append(hi, netip.PrefixFrom(lo6.Next(), 127))
	}
	return lo, hi
}

// ensurePeers makes the links between routers that exchange packets, and removes others.
func (d *freebsd) ensurePeers(ctx context.Context, plan []plannedNetwork, done map[string]Network) error {
	wanted := map[string]bool{}
	var errs []error
	for _, p := range planPeers(plan, done) {
		wanted[peerEnd(p.Lo.ID, p.Hi.ID)], wanted[peerEnd(p.Hi.ID, p.Lo.ID)] = true, true
		if err := d.ensurePeer(ctx, p); err != nil {
			errs = append(errs, &NetworkError{Network: p.Hi.Name, Err: fmt.Errorf("network %s: link to the router of network %s: %w", p.Hi.Name, p.Lo.Name, err)})
		}
	}
	for _, n := range plan {
		if _, ok := done[n.Name]; !ok {
			continue
		}
		if err := d.dropPeers(ctx, d.routerHolder(n.ID), wanted); err != nil {
			errs = append(errs, &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: %w", n.Name, err)})
		}
	}
	return errors.Join(errs...)
}

// dropPeers removes the links of a router that are not wanted.
func (d *freebsd) dropPeers(ctx context.Context, holder string, wanted map[string]bool) error {
	out, err := d.within(ctx, holder, ifconfigPath, "-l")
	if err != nil {
		return fmt.Errorf("list interfaces of %s: %w", holder, err)
	}
	for _, name := range strings.Fields(out) {
		if strings.HasPrefix(name, prefixPeer) && !wanted[name] {
			if err := d.destroy(ctx, holder, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *freebsd) ensurePeer(ctx context.Context, p peerLink) error {
	loHolder, hiHolder := d.routerHolder(p.Lo.ID), d.routerHolder(p.Hi.ID)
	loAddrs, hiAddrs := p.addrs()
	lo := end{name: peerEnd(p.Lo.ID, p.Hi.ID), mac: peerMAC(p.Lo.ID, p.Hi.ID), addrs: loAddrs}
	hi := end{name: peerEnd(p.Hi.ID, p.Lo.ID), mac: peerMAC(p.Hi.ID, p.Lo.ID), addrs: hiAddrs}
	a, okLo, err := d.look(ctx, loHolder, lo.name)
	if err != nil {
		return err
	}
	b, okHi, err := d.look(ctx, hiHolder, hi.name)
	if err != nil {
		return err
	}
	if !okLo || !okHi {
		if err := d.makePeer(ctx, p, lo, hi); err != nil {
			return err
		}
		a, b = iface{}, iface{}
	}
	if err := errors.Join(d.raise(ctx, loHolder, lo, a), d.raise(ctx, hiHolder, hi, b)); err != nil {
		return err
	}
	for i := range loAddrs {
		six := loAddrs[i].Addr().Is6()
		err := errors.Join(d.addRoute(ctx, loHolder, p.Hi.subnet(six), hiAddrs[i].Addr()),
			d.addRoute(ctx, hiHolder, p.Lo.subnet(six), loAddrs[i].Addr()))
		if err != nil {
			return err
		}
	}
	return nil
}

// makePeer makes the pair anew. An end that a killed predecessor left anywhere takes the other one along.
func (d *freebsd) makePeer(ctx context.Context, p peerLink, lo, hi end) error {
	loHolder, hiHolder := d.routerHolder(p.Lo.ID), d.routerHolder(p.Hi.ID)
	for _, left := range [][2]string{{loHolder, lo.name}, {hiHolder, hi.name}, {"", lo.name}, {"", hi.name}} {
		if err := d.destroy(ctx, left[0], left[1]); err != nil {
			return err
		}
	}
	m := mark{Instance: d.o.Instance, Network: p.Lo.ID, Jail: markPeer}
	made, err := d.create(ctx, "epair", m)
	if err != nil {
		return err
	}
	other := strings.TrimSuffix(made, "a") + "b"
	for _, s := range [][]string{
		{made, "ether", lo.mac.String()}, {other, "ether", hi.mac.String()},
		{made, "name", lo.name}, {other, "descr", m.String(), "name", hi.name},
		{hi.name, "vnet", hiHolder}, {lo.name, "vnet", loHolder},
	} {
		if _, err := d.run(ctx, append([]string{ifconfigPath}, s...)...); err != nil {
			ctx := context.WithoutCancel(ctx)
			return errors.Join(fmt.Errorf("connect %s with %s: %w", loHolder, hiHolder, err), d.destroy(ctx, "", made), d.destroy(ctx, "", lo.name))
		}
	}
	return nil
}
