package netd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Drain looks at what routers track, and cuts connections to members that left. Their next packet is then one of no
// connection: it meets the rules, which lead it to another member, who resets it.
func (d *linux) Drain(ctx context.Context, now time.Time) (again time.Duration, err error) {
	defer d.m.observe("drain", time.Now(), &err)
	d.setMu.Lock()
	defer d.setMu.Unlock()
	d.mu.RLock()
	nets := d.nets
	d.mu.RUnlock()
	var errs []error
	for name, n := range nets {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if !d.drains.wanted(name, now) {
			continue
		}
		if err := d.drainNetwork(n.planned, now); err != nil {
			errs = append(errs, &NetworkError{Network: name, Err: fmt.Errorf("network %s: drain published ports: %w", name, err)})
		}
	}
	return d.drains.again(now), errors.Join(errs...)
}

func (d *linux) drainNetwork(n plannedNetwork, now time.Time) error {
	ns, err := openNS(d.routerPath(n.ID))
	if err != nil {
		return err
	}
	defer ns.close()
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.fd), unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open netlink socket in %s: %w", ns.path, err)
	}
	defer h.Close()
	families := []netlink.InetFamily{unix.AF_INET}
	if n.v6() {
		families = append(families, unix.AF_INET6)
	}
	found := map[flowKey]bool{}
	for _, f := range families {
		flows, err := dump(func() ([]*netlink.ConntrackFlow, error) { return h.ConntrackTableList(netlink.ConntrackTable, f) })
		if err != nil {
			return fmt.Errorf("list connections: %w", err)
		}
		for _, flow := range flows {
			if k, ok := keyOf(n, flow); ok {
				found[k] = true
			}
		}
	}
	cut := d.drains.judge(n, found, now)
	if len(cut) == 0 {
		return nil
	}
	for _, f := range families {
		count, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, f, cutter{n, cut})
		if err != nil {
			return fmt.Errorf("cut connections: %w", err)
		}
		d.m.drained(count)
	}
	return nil
}

// keyOf is the published port and the member of a connection, if it is one by a published port of n.
func keyOf(n plannedNetwork, f *netlink.ConntrackFlow) (flowKey, bool) {
	to, _ := netip.AddrFromSlice(f.Forward.DstIP)
	member, ok := netip.AddrFromSlice(f.Reverse.SrcIP)
	to, member = to.Unmap(), member.Unmap()
	if !ok || to != n.Uplink.Router && to != n.Uplink.Router6 || member == to {
		return flowKey{}, false
	}
	proto := map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[f.Forward.Protocol]
	return flowKey{proto, f.Forward.DstPort, netip.AddrPortFrom(member, f.Reverse.SrcPort)}, proto != ""
}

// cutter picks the connections that are cut.
type cutter struct {
	n   plannedNetwork
	cut map[flowKey]bool
}

// MatchConntrackFlow says whether f is one of them.
func (c cutter) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	k, ok := keyOf(c.n, f)
	return ok && c.cut[k]
}

// Rules returns the rules of a network in words.
func (d *linux) Rules(network string) ([]Rule, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n, ok := d.nets[network]
	if !ok {
		return nil, fmt.Errorf("network %q is not set on this host", network)
	}
	return rulesOf(n.planned, []plannedNetwork{n.planned}), nil
}
