package netd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// farAway is an address that no host has (RFC 5737): the route to it is the way out.
var farAway = netip.MustParseAddr("192.0.2.1")

// Trace implements Tracer.
func (d *linux) Trace(ctx context.Context, id string, networks []string) (t Trace, err error) {
	if t.Routes, err = routesIn(d.jailPath(id)); err != nil {
		return t, fmt.Errorf("trace jail %s: %w", id, err)
	}
	for _, name := range networks {
		path, err := d.RouterNS(name)
		if err != nil {
			return t, fmt.Errorf("trace jail %s: %w", id, err)
		}
		r := RouterTrace{Network: name}
		if r.Routes, err = routesIn(path); err != nil {
			return t, fmt.Errorf("trace jail %s: router of network %s: %w", id, name, err)
		}
		if r.Rules, err = d.tableText(ctx, "inet", path); err != nil {
			return t, fmt.Errorf("trace jail %s: router of network %s: %w", id, name, err)
		}
		t.Routers = append(t.Routers, r)
	}
	if t.Host, err = d.traceHost(ctx); err != nil {
		return t, fmt.Errorf("trace jail %s: %w", id, err)
	}
	return t, nil
}

func (d *linux) traceHost(ctx context.Context) (h HostTrace, err error) {
	err = inNS(d.hostFD, func() error {
		b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
		h.Forwarding = strings.TrimSpace(string(b)) == "1"
		return err
	})
	if err != nil {
		return h, err
	}
	found, err := d.host.RouteGet(farAway.AsSlice())
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), len(found) == 0 && err == nil: // no way out is no failure
	case err != nil:
		return h, fmt.Errorf("route to the outside: %w", err)
	default:
		h.Out = routeOf(d.host, found[0])
		h.Out.To = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	for _, family := range []string{"inet", "bridge"} {
		text, err := d.tableText(ctx, family, d.o.HostNS)
		if err != nil {
			return h, err
		}
		h.Rules += text
	}
	return h, nil
}

// tableText is our table in a namespace, as nft prints it.
func (d *linux) tableText(ctx context.Context, family, ns string) (string, error) {
	res, err := d.o.Runner.Run(ctx, run.Cmd{Argv: []string{"nft", "list", "table", family, d.table}, NetNS: ns})
	return string(res.Stdout), err
}

// routesIn lists the main tables of the namespace at path, without what the kernel makes for links by itself.
func routesIn(path string) ([]Route, error) {
	ns, err := openNS(path)
	if err != nil {
		return nil, err
	}
	defer ns.close()
	h, err := ns.inside()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	found, err := dump(func() ([]netlink.Route, error) { return h.RouteList(nil, unix.AF_UNSPEC) })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var out []Route
	for _, r := range found {
		if p, ok := routeTo(r); ok && (p.Addr().IsMulticast() || p.Addr().IsLinkLocalUnicast() && p.Addr().Is6()) {
			continue
		}
		out = append(out, routeOf(h, r))
	}
	return out, nil
}

func routeTo(r netlink.Route) (netip.Prefix, bool) {
	if r.Dst == nil {
		if r.Family == unix.AF_INET6 {
			return default6, false
		}
		return default4, false
	}
	return prefix(r.Dst)
}

func routeOf(h *netlink.Handle, r netlink.Route) Route {
	out := Route{Via: ipOf(r.Gw), Src: ipOf(r.Src)}
	out.To, _ = routeTo(r)
	if x, err := h.LinkByIndex(r.LinkIndex); err == nil { // it may have gone meanwhile
		out.Dev = x.Attrs().Name
	}
	return out
}

func ipOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
