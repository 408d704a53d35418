package netd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ensureInet gives a router an interface of its own on a NIC of the host, beside the host's own: a macvlan, so that neither
// the NIC nor what the host does with it is touched. Addresses and the way out come from whoever speaks DHCP on it.
func (d *linux) ensureInet(n plannedNetwork) error {
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
	have, err := h.LinkByName(nicInet)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		have = nil
	case err != nil:
		return fmt.Errorf("look for %s: %w", nicInet, err)
	}
	if n.Inet == "" && have == nil {
		return nil
	}
	var parent netlink.Link
	if n.Inet != "" {
		if parent, err = d.host.LinkByName(n.Inet); err != nil {
			return fmt.Errorf("uplink by interface %s, which -inet-nic names: %w", n.Inet, err)
		}
	}
	if have != nil && (parent == nil || have.Attrs().ParentIndex != parent.Attrs().Index) {
		if err := h.LinkDel(have); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove %s: %w", nicInet, err)
		}
		have = nil
	}
	if parent == nil {
		return nil
	}
	if have == nil {
		if err := d.makeInet(ns, n, parent); err != nil {
			return err
		}
		d.step("inet-made")
		if have, err = h.LinkByName(nicInet); err != nil {
			return fmt.Errorf("find %s: %w", nicInet, err)
		}
	}
	return d.configureInet(ns, h, n, have)
}

func (d *linux) makeInet(ns *namespace, n plannedNetwork, parent netlink.Link) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.Namespace = nicInet, parent.Attrs().Index, netlink.NsFd(ns.fd)
	attrs.HardwareAddr = inetMAC(parent.Attrs().HardwareAddr, n.ID)
	err := d.host.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("uplink by interface %s: %w", n.Inet, err)
	}
	return nil
}

// inetMAC differs from host to host, where the same network has the same id: they share the wire.
func inetMAC(nic net.HardwareAddr, id string) net.HardwareAddr {
	sum := sha256.Sum256(append([]byte(id), nic...))
	return append(net.HardwareAddr{0x02}, sum[:5]...)
}

// configureInet brings it up, and keeps the way back to the host for what came from there.
func (d *linux) configureInet(ns *namespace, h *netlink.Handle, n plannedNetwork, x netlink.Link) error {
	err := inNS(ns.fd, func() error { // packets come in by one way while the route to their sender is the other
		return errors.Join(setSysctl("ipv4/conf/all/rp_filter", "0"), setSysctl("ipv4/conf/"+nicUplink+"/rp_filter", "2"),
			setSysctl("ipv4/conf/"+nicInet+"/rp_filter", "2"), setSysctl("ipv6/conf/"+nicInet+"/disable_ipv6", "1"))
	})
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(x); err != nil {
		return fmt.Errorf("bring %s up: %w", nicInet, err)
	}
	up, err := h.LinkByName(nicUplink)
	if err != nil {
		return fmt.Errorf("find %s: %w", nicUplink, err)
	}
	back := netlink.Route{LinkIndex: up.Attrs().Index, Table: tableHost, Gw: n.Uplink.Host.AsSlice(), Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}}
	if err := h.RouteReplace(&back); err != nil {
		return fmt.Errorf("set the way back to the host: %w", err)
	}
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table, rule.Priority = unix.AF_INET, markHost, tableHost, 1000
	if err := h.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("set the way back to the host: %w", err)
	}
	return nil
}
