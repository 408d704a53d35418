package netd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const arpPath = "/usr/sbin/arp"

// Reach makes the ways to remote: a route by the mesh, and an entry with which the host answers for the address on its
// bridge. arp(8) finds the bridge by the route to the address, so the entry comes before the route, and goes after it; and
// it tells success where it has failed, so it is judged by what is listed afterwards.
//
// IPv4 only: nothing is known yet of how 15.1 answers for IPv6 addresses.
func (d *freebsd) Reach(ctx context.Context, remote []Remote) (err error) {
	defer d.m.observe("reach", time.Now(), &err)
	d.setMu.Lock()
	defer d.setMu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	want, dev := d.wantedWays(remote)
	if dev == "" && !d.reached {
		return nil // no other host, and none was there since this daemon has started
	}
	if err := d.changeWays(ctx, dev, want); err != nil {
		return fmt.Errorf("reach other hosts: %w", err)
	}
	d.reached = len(want) > 0
	return nil
}

// wantedWays leaves out what is not of a meshed network of this host.
func (d *freebsd) wantedWays(remote []Remote) (want map[netip.Addr]string, device string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	want = map[netip.Addr]string{}
	if d.mesh == nil {
		return want, ""
	}
	for _, r := range remote {
		if n, ok := d.nets[r.Network]; ok && n.Meshed && r.Addr.Is4() && n.Subnet.Contains(r.Addr) {
			want[r.Addr] = bridgeName(n.ID)
		}
	}
	return want, d.mesh.Device
}

func (d *freebsd) changeWays(ctx context.Context, dev string, want map[netip.Addr]string) error {
	published, err := d.published(ctx)
	if err != nil {
		return err
	}
	all, err := d.routes(ctx, false)
	if err != nil {
		return err
	}
	routed := map[netip.Addr]bool{}
	for _, r := range all {
		// One to an address that the host answers for is ours too, when the mesh has just ended.
		if r.Dst.IsSingleIP() && (r.Dev == dev && dev != "" || published[r.Dst.Addr()] != "") {
			routed[r.Dst.Addr()] = true
		}
	}
	drop := func(a netip.Addr) error {
		if !routed[a] {
			return nil
		}
		delete(routed, a)
		_, err := d.run(ctx, routePath, "delete", "-host", a.String())
		return err
	}
	for _, a := range sortedAddrs(published, routed) {
		if want[a] != "" && (published[a] == want[a] || published[a] == "") {
			continue
		}
		if err := drop(a); err != nil {
			return fmt.Errorf("remove the route to %v: %w", a, err)
		}
		if published[a] != "" {
			if _, err := d.run(ctx, arpPath, "-d", a.String()); err != nil {
				return fmt.Errorf("answer no more for %v: %w", a, err)
			}
			delete(published, a)
		}
	}
	return d.addWays(ctx, dev, want, published, routed, drop)
}

func (d *freebsd) addWays(ctx context.Context, dev string, want, published map[netip.Addr]string, routed map[netip.Addr]bool, drop func(netip.Addr) error) error {
	answers := false
	for _, a := range sortedAddrs(want, nil) {
		if published[a] == want[a] {
			continue
		}
		if err := drop(a); err != nil { // with the route there, arp would find no interface for the entry
			return fmt.Errorf("remove the route to %v: %w", a, err)
		}
		if _, err := d.run(ctx, arpPath, "-s", a.String(), "auto", "pub"); err != nil {
			return fmt.Errorf("answer for %v: %w", a, err)
		}
		answers = true
	}
	if answers {
		now, err := d.published(ctx)
		if err != nil {
			return err
		}
		for a, bridge := range want {
			if now[a] != bridge {
				return fmt.Errorf("answer for %v on %s: arp made no such entry", a, bridge)
			}
		}
	}
	for _, a := range sortedAddrs(want, nil) {
		if routed[a] {
			continue
		}
		if _, err := d.run(ctx, routePath, "add", "-host", a.String(), "-interface", dev); err != nil {
			return fmt.Errorf("route to %v: %w", a, err)
		}
	}
	return nil
}

func sortedAddrs(a map[netip.Addr]string, b map[netip.Addr]bool) []netip.Addr {
	var out []netip.Addr
	for x := range a {
		out = append(out, x)
	}
	for x := range b {
		out = append(out, x)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// published lists the addresses for which the host answers on bridges of networks of ours, each with its bridge.
func (d *freebsd) published(ctx context.Context) (map[netip.Addr]string, error) {
	out, err := d.run(ctx, arpPath, "-an")
	if err != nil {
		return nil, fmt.Errorf("list what the host answers for: %w", err)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	found := parsePublished(out)
	for a, dev := range found {
		ours := false
		for _, n := range d.nets {
			ours = ours || dev == bridgeName(n.ID)
		}
		if !ours {
			delete(found, a)
		}
	}
	return found, nil
}

// parsePublished reads arp -an: "? (10.77.0.9) at 58:9c:fc:10:ff:8e on rb1a2b3c4d0 permanent published [bridge]".
func parsePublished(out string) map[netip.Addr]string {
	found := map[netip.Addr]string{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 7 || f[2] != "at" || f[4] != "on" || !slices.Contains(f, "published") {
			continue
		}
		if a, err := netip.ParseAddr(strings.Trim(f[1], "()")); err == nil {
			found[a] = f[5]
		}
	}
	return found
}
