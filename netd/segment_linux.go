package netd

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ensureSegment makes the VLAN of a network a port of its bridge, or sees to it that there is none.
func (d *linux) ensureSegment(l links, n plannedNetwork, bridge int) error {
	name := segmentName(n.ID)
	x, err := d.own(l, name)
	if err != nil {
		return err
	}
	if x != nil && (n.VLAN == 0 || !carries(x, l.byName[n.Trunk], n.VLAN)) {
		if err := d.deleteLinks([]int{x.Attrs().Index}); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
		x = nil
	}
	if n.VLAN == 0 {
		return nil
	}
	trunk := l.byName[n.Trunk]
	if trunk == nil {
		return fmt.Errorf("vlan %d: this host has no interface %s: set -vlan-nic", n.VLAN, n.Trunk)
	}
	if x == nil {
		err := d.addVLAN(trunk, name, n.VLAN, min(n.mtu(), trunk.Attrs().MTU))
		if errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("vlan %d on %s: this kernel has no VLANs (modprobe 8021q): %w", n.VLAN, n.Trunk, err)
		}
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("vlan %d on %s: %w", n.VLAN, n.Trunk, err)
		}
	}
	m := mark{Instance: d.o.Instance, Network: n.ID, Jail: markSegment}
	if err := d.rt.with(func(c *conn) error { return c.must(setLink(name, m, bridge)) }); err != nil {
		return fmt.Errorf("vlan %d: make %s a port of the bridge: %w", n.VLAN, name, err)
	}
	return nil
}

// carries says whether x is this VLAN of trunk.
func carries(x, trunk netlink.Link, id int) bool {
	v, ok := x.(*netlink.Vlan)
	return !ok || trunk != nil && v.VlanId == id && v.ParentIndex == trunk.Attrs().Index
}

// makeVLAN makes an interface for a VLAN of trunk (IEEE 802.1Q).
func (d *linux) makeVLAN(trunk netlink.Link, name string, id, mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.MTU = name, trunk.Attrs().Index, mtu
	return d.host.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
}
