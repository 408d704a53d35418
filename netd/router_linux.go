package netd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// routerSysctls are set in the namespace of a router.
func routerSysctls(v6 bool) [][2]string {
	s := append(slices.Clone(jailSysctls), [][2]string{
		{"ipv4/ip_forward", "1"},
		{"ipv4/conf/all/send_redirects", "0"},
		{"ipv4/conf/default/send_redirects", "0"},
	}...)
	if v6 {
		return append(s, [2]string{"ipv6/conf/all/forwarding", "1"})
	}
	return append(s, [2]string{"ipv6/conf/default/disable_ipv6", "1"})
}

// routerTable writes the rules of a router if they differ from what was written last or are gone.
func (d *linux) routerTable(ctx context.Context, ns *namespace, n plannedNetwork) error {
	rules := routerRules(d.table, n)
	if !ns.fresh && d.applied[ns.path] == rules {
		var there bool
		err := inNS(ns.fd, func() error {
			c, err := dial(unix.NETLINK_NETFILTER)
			if err != nil {
				return err
			}
			defer c.close()
			there, err = tableExists(c, unix.NFPROTO_INET, d.table)
			return err
		})
		if err != nil {
			return fmt.Errorf("look for table %s: %w", d.table, err)
		}
		if there {
			return nil
		}
	}
	if err := d.nft(ctx, ns.path, rules); err != nil {
		return err
	}
	d.applied[ns.path] = rules
	return nil
}

// ensureLAN connects a router with its bridge.
func (d *linux) ensureLAN(ns *namespace, n plannedNetwork, bridge int) error {
	w := vethWish{name: routerPort(n.ID), peer: nicLAN, peerMAC: MACOf(n.ID, macGateway), peerNS: ns.fd, mtu: n.mtu()}
	index, _, err := d.ensureVeth(ns, w, mark{Instance: d.o.Instance, Network: n.ID, Jail: markRouter}, bridge)
	if err != nil {
		return err
	}
	// A network of before the cluster had several hosts was made with another MTU. Both ends: what is larger than a port is dropped.
	if err := errors.Join(ns.nl.must(setMTU(index, n.mtu())), d.setMTUOf(w.name, n.mtu())); err != nil {
		return fmt.Errorf("set MTU %d: %w", n.mtu(), err)
	}
	want := []netip.Prefix{netip.PrefixFrom(n.Gateway(), n.Subnet.Bits())}
	if n.v6() {
		want = append(want, netip.PrefixFrom(n.Gateway6(), n.Subnet6.Bits()), asking(MACOf(n.ID, macGateway)))
	}
	return ns.configure(index, n.v6(), want)
}

// asking is the address from which who forwards asks for neighbours (RFC 4861, section 7.2.2). It is given without the wait for
// another that has it, which cannot be: the MAC is ours.
func asking(m MAC) netip.Prefix { return netip.PrefixFrom(linkLocal(m), 64) }

// configure brings a NIC of a namespace up with these addresses.
func (n *namespace) configure(index int, v6 bool, want []netip.Prefix) error {
	h, err := n.inside()
	if err != nil {
		return err
	}
	defer h.Close()
	if v6 { // the network may have had no IPv6 before
		x, err := h.LinkByIndex(index)
		if err != nil {
			return fmt.Errorf("find interface %d: %w", index, err)
		}
		err = inNS(n.fd, func() error {
			return errors.Join(setSysctl("ipv6/conf/all/forwarding", "1"), setSysctl("ipv6/conf/default/disable_ipv6", "0"),
				setSysctl("ipv6/conf/"+x.Attrs().Name+"/disable_ipv6", "0"))
		})
		if err != nil {
			return err
		}
	}
	if err := n.nl.must(linkUp(1), linkUp(index)); err != nil {
		return fmt.Errorf("bring interface %d up: %w", index, err)
	}
	return setAddrs(h, n.nl, index, want)
}

// ensureUplink connects a router with the host. Its MTU is that of the host's way out, so that the router tells senders.
func (d *linux) ensureUplink(l links, ns *namespace, n plannedNetwork) error {
	name := uplinkName(n.ID)
	w := vethWish{name: name, mac: MACOf(n.ID, macUplinkHost), peer: nicUplink, peerMAC: MACOf(n.ID, macUplink),
		peerNS: ns.fd, mtu: d.outsideMTU(l)}
	inside, _, err := d.ensureVeth(ns, w, mark{Instance: d.o.Instance, Network: n.ID, Jail: markUplink}, 0)
	if err != nil {
		return err
	}
	if err := d.hostSysctls(name, n.v6(), true); err != nil {
		return err
	}
	host := []netip.Prefix{netip.PrefixFrom(n.Uplink.Host, 31)}
	router := []netip.Prefix{netip.PrefixFrom(n.Uplink.Router, 31)}
	routes := []*nl.NetlinkRequest{addRoute(inside, default4, n.Uplink.Host, false)}
	if n.v6() {
		host = append(host, netip.PrefixFrom(n.Uplink.Host6, 127), asking(MACOf(n.ID, macUplinkHost)))
		router = append(router, netip.PrefixFrom(n.Uplink.Router6, 127), asking(MACOf(n.ID, macUplink)))
		routes = append(routes, addRoute(inside, default6, n.Uplink.Host6, false))
	}
	err = d.rt.with(func(c *conn) error {
		index, _, err := c.get(name)
		if err != nil {
			return err
		}
		return setAddrs(d.host, c, index, host)
	})
	if err != nil {
		return err
	}
	if err := ns.configure(inside, n.v6(), router); err != nil {
		return err
	}
	if err := ns.nl.must(routes...); err != nil {
		return fmt.Errorf("set default route by %v: %w", n.Uplink.Host, err)
	}
	return nil
}

// ensurePeers makes the links of a router to the routers of networks that it exchanges packets with, and removes
// others. Each side has a route to the other's subnet by the other's gateway address, which is told to be on that link.
func (d *linux) ensurePeers(n plannedNetwork, done map[string]network) error {
	ns, err := openNS(d.routerPath(n.ID))
	if err != nil {
		return err
	}
	defer ns.close()
	h, err := ns.inside()
	if err != nil {
		return err
	}
	defer h.Close()
	in, err := byName(h)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, p := range n.Peers {
		for _, o := range done {
			if o.ID != p.ID {
				continue
			}
			wanted[peerName(p.ID)] = true
			if err := d.ensurePeer(ns, in[peerName(p.ID)] != nil, n, p); err != nil {
				return fmt.Errorf("link to the router of network %s: %w", o.Name, err)
			}
		}
	}
	for name, x := range in {
		if strings.HasPrefix(name, prefixPeer) && !wanted[name] {
			if err := h.LinkDel(x); err != nil && !errors.Is(err, unix.ENODEV) {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
	}
	return nil
}

func (d *linux) ensurePeer(ns *namespace, there bool, n plannedNetwork, p peer) error {
	name := peerName(p.ID)
	if !there {
		other, err := openNS(d.routerPath(p.ID))
		if err != nil {
			return err
		}
		defer other.close()
		// A stale end on the other side can only be there together with ours, for the kernel removes both.
		w := vethWish{name: name, mac: peerMAC(n.ID, p.ID), peer: peerName(n.ID), peerMAC: peerMAC(p.ID, n.ID), peerNS: other.fd, mtu: n.mtu()}
		if err := ns.nl.must(newVeth(w)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make interface pair: %w", err)
		}
		d.step("peer")
	}
	index, _, err := ns.nl.get(name)
	if err != nil {
		return err
	}
	if p.Subnet6.IsValid() && n.v6() {
		err := inNS(ns.fd, func() error { return setSysctl("ipv6/conf/"+name+"/disable_ipv6", "0") })
		if err != nil {
			return err
		}
	}
	reqs := []*nl.NetlinkRequest{linkUp(index), addRoute(index, p.Subnet, p.Gateway, true)}
	if p.Subnet6.IsValid() && n.v6() {
		// A neighbour answers only for addresses of the link itself (RFC 4861, section 7.2.3), so the next hop is one.
		reqs = append(reqs, addAddr(index, asking(peerMAC(n.ID, p.ID))), addRoute(index, p.Subnet6, linkLocal(peerMAC(p.ID, n.ID)), true))
	}
	if err := ns.nl.must(reqs...); err != nil {
		return fmt.Errorf("route to %v: %w", p.Subnet, err)
	}
	return nil
}
