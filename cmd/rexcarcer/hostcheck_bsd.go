package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/netd"
)

// freebsd looks at a FreeBSD host.
func (h hostCheck) freebsd(ctx context.Context) []finding {
	sysctl := func(name string) string { v, _ := h.out(ctx, "/sbin/sysctl", "-n", name); return v }
	rel, _ := strconv.Atoi(sysctl("kern.osreldate"))
	list := []finding{
		{name: "release", ok: rel >= 1400000, need: true, text: "FreeBSD " + sysctl("kern.osrelease") + "; 14.0 is the first that is supported", how: "upgrade the host: freebsd-update(8)"},
		{name: "host", ok: sysctl("security.jail.jailed") == "0", need: true, text: "this is a host and no jail itself", how: "run rexcarcer on the host"},
		{name: "vimage", ok: sysctl("kern.features.vimage") == "1", need: true, text: "jails with a network stack of their own (VIMAGE)", how: "boot the GENERIC kernel, or add options VIMAGE to yours"},
	}
	list = append(list, h.interfaces(ctx)...)
	list = append(list, h.packetFilter(ctx)...)
	list = append(list, finding{name: "forwarding", ok: sysctl("net.inet.ip.forwarding") == "1", text: "this host forwards packets: NAT, and published ports for other machines",
		how: "sysrc gateway_enable=YES, and service routing restart"})
	list = append(list, finding{name: "racct", ok: sysctl("kern.racct.enable") == "1", text: "limits and accounting by rctl(8)",
		how: "echo 'kern.racct.enable=1' >> /boot/loader.conf, and reboot"})
	pools, ok := h.out(ctx, "/sbin/zpool", "list", "-H", "-o", "name")
	list = append(list, finding{name: "zfs", ok: ok && pools != "" && !strings.Contains(pools, "no pools"), text: "clones, snapshots and quotas on a ZFS pool; plain copies otherwise",
		how: "sysrc zfs_enable=YES, service zfs start, and zpool create zroot DISK"})
	list = append(list, h.bridge(ctx)...)
	return list
}

// interfaces asks the kernel which kinds it can make.
func (h hostCheck) interfaces(ctx context.Context) []finding {
	text, _ := h.out(ctx, "/sbin/ifconfig", "-C")
	kinds := strings.Fields(text)
	kind := func(name, module string, need bool, what string) finding {
		there := slices.Contains(kinds, name) || h.exists("/boot/kernel/"+module+".ko") // ifconfig(8) loads it when it is asked for one
		return finding{name: module, ok: there, need: need, text: what,
			how: "kldload " + module + ", and " + module + "_load=\"YES\" in /boot/loader.conf"}
	}
	return []finding{
		kind("epair", "if_epair", true, "the interfaces of jails"),
		kind("bridge", "if_bridge", true, "the network of jails on one host"),
		kind("wg", "if_wg", false, "networks between hosts (WireGuard)"),
	}
}

func (h hostCheck) packetFilter(ctx context.Context) []finding {
	info, ok := h.out(ctx, "/sbin/pfctl", "-s", "info")
	if !ok {
		return []finding{{name: "pf", text: "NAT, published ports, and rules between networks", how: "kldload pf, and pf_load=\"YES\" in /boot/loader.conf"}}
	}
	list := []finding{{name: "pf", ok: strings.HasPrefix(info, "Status: Enabled"), text: "the host's packet filter is enabled", how: "sysrc pf_enable=YES, and service pf start"}}
	nat, _ := h.out(ctx, "/sbin/pfctl", "-s", "nat")
	rules, _ := h.out(ctx, "/sbin/pfctl", "-s", "rules")
	all := strings.Contains(nat, `nat-anchor "rexcarcer/*"`) && strings.Contains(nat, `rdr-anchor "rexcarcer/*"`) && strings.Contains("\n"+rules, "\nanchor \"rexcarcer/*\"")
	return append(list, finding{name: "anchors", ok: all, text: "the host's rules let those of the networks in",
		how: "put these lines into /etc/pf.conf, translations before filters, then pfctl -f /etc/pf.conf:\n" + strings.TrimSpace(netd.AnchorLines)})
}

// bridge reads whether the host's filter sees frames that a bridge forwards:
// jails of one network would then meet the rules of the host.
func (h hostCheck) bridge(ctx context.Context) []finding {
	var on []string
	for _, name := range []string{"net.link.bridge.pfil_member", "net.link.bridge.pfil_bridge"} {
		if v, ok := h.out(ctx, "/sbin/sysctl", "-n", name); ok && v != "0" {
			on = append(on, name+"=0")
		}
	}
	return []finding{{name: "bridges", ok: len(on) == 0, text: "frames between jails of one network do not pass the host's filter",
		how: "sysctl " + strings.Join(on, " ") + ", and the same lines in /etc/sysctl.conf; it holds for all bridges of the host"}}
}
