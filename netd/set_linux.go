package netd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Set makes the networks exactly those of c. Order: rules before links, so that no packet ever meets an open path;
// routers before the ports that lead to them; removals first, because they free names, addresses and ports.
func (d *linux) Set(ctx context.Context, c Config) (err error) {
	defer d.m.observe("set", time.Now(), &err)
	d.setMu.Lock()
	defer d.setMu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	nets, errs := c.normalize()
	if err := errors.Join(makeNSDir(d.jailDir(), d.table), makeNSDir(d.routerDir(), d.table)); err != nil {
		return fmt.Errorf("set networks: %w", err)
	}
	l, err := d.scan()
	if err != nil {
		return fmt.Errorf("set networks: %w", err)
	}
	if err := d.removeUnwanted(l, nets); err != nil {
		errs = append(errs, err)
	}
	d.step("removed")
	plan, more, err := d.plan(l, nets, c)
	errs = append(errs, more...)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("set networks: %w", err))...)
	}
	if err := d.forwarding(plan, l); err != nil {
		return errors.Join(append(errs, fmt.Errorf("set networks: %w", err))...)
	}
	d.step("forwarding")
	if err := d.hostTables(ctx, plan); err != nil {
		return errors.Join(append(errs, fmt.Errorf("set networks: %w", err))...)
	}
	d.step("host-rules")
	done := map[string]network{}
	for _, n := range plan {
		bridge, err := d.ensureNetwork(ctx, l, n)
		if err != nil {
			errs = append(errs, &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: %w", n.Name, err)})
			continue
		}
		done[n.Name] = network{Network: n.Network, planned: n, bridge: bridge, mesh: n.Mesh}
	}
	for _, n := range plan {
		if _, ok := done[n.Name]; !ok {
			continue
		}
		if err := d.ensurePeers(n, done); err != nil {
			errs = append(errs, &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: %w", n.Name, err)})
		}
	}
	for _, n := range plan {
		if _, ok := done[n.Name]; !ok {
			continue
		}
		if err := d.ensureInet(n); err != nil {
			errs = append(errs, &InetError{Network: n.Name, Err: err})
		}
		d.step("inet")
	}
	d.reach.forget()
	d.drains.look(plan)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nets = done
	return errors.Join(errs...)
}

// plan chooses uplinks and published ports, and leaves out networks that cannot be.
func (d *linux) plan(l links, nets []Network, c Config) (plan []plannedNetwork, errs []error, err error) {
	inUse, err := d.inUse(l)
	if err != nil {
		return nil, nil, err
	}
	var free []Network
	for _, n := range nets {
		if o := overlap(n, inUse); o != nil {
			errs = append(errs, o)
			if x := l.byName[bridgeName(n.ID)]; x == nil || !d.ours(l, x.Attrs().Index) {
				continue
			} // one that runs already keeps its rules and its jails: the newcomer is the mistake
		}
		free = append(free, n)
	}
	have, err := d.uplinksFound(l)
	if err != nil {
		return nil, errs, err
	}
	uplinks, err := planUplinks(d.o.LinkRange, free, have, inUse)
	if err != nil {
		return nil, errs, err
	}
	published, more := d.reserve(free)
	errs = append(errs, more...)
	near := peers(free)
	for _, n := range free {
		p := plannedNetwork{Network: n, Uplink: uplinks[n.ID], Publish: published[n.Name], Peers: near[n.Name]}
		if n.Meshed {
			p.Mesh = c.Mesh
		}
		p.Trunk = c.Trunk
		plan = append(plan, p)
	}
	return plan, errs, nil
}

// uplinksFound returns the host's address on each uplink of ours.
func (d *linux) uplinksFound(l links) (map[string]netip.Addr, error) {
	have := map[string]netip.Addr{}
	for index, m := range l.marks {
		if m.Instance != d.o.Instance || m.Jail != markUplink {
			continue
		}
		addrs, err := dump(func() ([]netlink.Addr, error) { return d.host.AddrList(l.byIndex[index], unix.AF_INET) })
		if err != nil {
			return nil, fmt.Errorf("list addresses of uplink %s: %w", l.byIndex[index].Attrs().Name, err)
		}
		for _, a := range addrs {
			if p, ok := prefix(a.IPNet); ok {
				have[m.Network] = p.Addr()
			}
		}
	}
	return have, nil
}

// hostTables writes both tables of the host. Attach waits meanwhile, because the text holds what ports may send, which
// is read from the marks of links.
func (d *linux) hostTables(ctx context.Context, plan []plannedNetwork) error {
	fenced, err := d.fenced()
	if err != nil {
		return err
	}
	var segments strings.Builder
	segmentRules(&segments, plan)
	rules := hostRules(d.table, plan, fenced) + segments.String()
	if d.applied[""] == rules {
		there := false
		err := d.nf.with(func(c *conn) (err error) {
			if there, err = tableExists(c, unix.NFPROTO_INET, d.table); err == nil && there {
				there, err = tableExists(c, unix.NFPROTO_BRIDGE, d.table)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("look for table %s: %w", d.table, err)
		}
		if there {
			return nil
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := d.scan()
	if err != nil {
		return err
	}
	d.pinMu.Lock()
	defer d.pinMu.Unlock()
	var pins []pin
	for index, m := range l.marks {
		name := l.byIndex[index].Attrs().Name
		if m.Instance != d.o.Instance || !idPattern.MatchString(m.Jail) || m.MAC == (MAC{}) {
			continue
		}
		p := pin{Link: name, MAC: m.MAC, Addr: m.Addr, Addr6: m.Addr6}
		pins = append(pins, p)
		if !slices.Contains(d.pins[m.Jail], p) {
			d.pins[m.Jail] = append(d.pins[m.Jail], p)
		}
	}
	slices.SortFunc(pins, comparePins)
	if err := d.nft(ctx, d.o.HostNS, hostRules(d.table, plan, fenced)+bridgeRules(d.table, pins, plan)); err != nil {
		return err
	}
	d.applied[""] = rules
	return nil
}

// ensureNetwork makes one network and returns its bridge's index.
func (d *linux) ensureNetwork(ctx context.Context, l links, n plannedNetwork) (int, error) {
	bridge, err := d.ensureBridge(l, n)
	if err != nil {
		return 0, err
	}
	d.step("bridge")
	if err := d.ensureSegment(l, n, bridge); err != nil {
		return 0, err
	}
	ns, err := makeNS(d.routerPath(n.ID), routerSysctls(n.v6()), d.step)
	if err != nil {
		return 0, err
	}
	defer ns.close()
	if err := d.routerTable(ctx, ns, n); err != nil {
		return 0, fmt.Errorf("router: %w", err)
	}
	d.step("router-rules")
	for _, name := range []string{routerPort(n.ID), uplinkName(n.ID)} {
		if _, err := d.own(l, name); err != nil {
			return 0, err
		}
	}
	if err := d.ensureLAN(ns, n, bridge); err != nil {
		return 0, fmt.Errorf("router: %w", err)
	}
	d.step("lan")
	if err := d.ensureUplink(l, ns, n); err != nil {
		return 0, fmt.Errorf("router: %w", err)
	}
	d.step("uplink")
	return bridge, nil
}

// ensureBridge makes the bridge with the host's own address.
func (d *linux) ensureBridge(l links, n plannedNetwork) (int, error) {
	name := bridgeName(n.ID)
	m := mark{Instance: d.o.Instance, Network: n.ID, Jail: markBridge}
	x, err := d.own(l, name)
	if err != nil {
		return 0, err
	}
	index := 0
	err = d.rt.with(func(c *conn) error {
		if x == nil {
			mac := MACOf(n.ID, macBridge)
			if err := c.must(newBridge(name, mac, n.mtu()), setLink(name, m, 0)); err != nil {
				return fmt.Errorf("make bridge %s: %w", name, err)
			}
			if index, _, err = c.get(name); err != nil {
				return err
			}
		} else {
			index = x.Attrs().Index
			if err := c.must(setLink(name, m, 0)); err != nil {
				return fmt.Errorf("correct bridge %s: %w", name, err)
			}
			if x.Attrs().MTU != n.mtu() {
				if err := c.must(setMTU(index, n.mtu())); err != nil {
					return fmt.Errorf("set MTU %d of bridge %s: %w", n.mtu(), name, err)
				}
			}
		}
		if err := d.hostSysctls(name, n.v6(), false); err != nil {
			return err
		}
		if err := d.proxySysctls(name, n); err != nil {
			return err
		}
		want := []netip.Prefix{netip.PrefixFrom(n.HostAddr(), n.Subnet.Bits())}
		if n.v6() {
			want = append(want, netip.PrefixFrom(n.HostAddr6(), n.Subnet6.Bits()))
		}
		if n.v6() && n.Mesh != nil {
			want = append(want, asking(MACOf(n.ID, macBridge)))
		}
		return setAddrs(d.host, c, index, want)
	})
	return index, err
}

// hostSysctls sets what is per interface, on interfaces of ours only.
func (d *linux) hostSysctls(name string, v6, localnet bool) error {
	set := func() error {
		six, local := "1", "0"
		if v6 {
			six = "0"
		}
		if localnet {
			local = "1"
		}
		return errors.Join(
			setSysctl("ipv6/conf/"+name+"/accept_ra", "0"),
			setSysctl("ipv6/conf/"+name+"/disable_ipv6", six),
			setSysctl("ipv4/conf/"+name+"/route_localnet", local),
			setSysctl("ipv4/conf/"+name+"/send_redirects", "0"))
	}
	if d.o.HostNS == "" {
		return set()
	}
	return inNS(d.hostFD, set)
}

func newBridge(name string, mac MAC, mtu int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, mac[:]))
	req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu)))) //nolint:gosec // 1280..65535
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	// No querier, so no snooping: all multicast goes to all ports, as on a plain switch.
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_BR_MCAST_SNOOPING, nl.Uint8Attr(0))
	req.AddData(info)
	return req
}
